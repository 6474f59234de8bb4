"""Engine and Docker output -> named cause and cure."""
