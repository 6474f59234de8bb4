"""Plan -> compose file, units and manifests."""
