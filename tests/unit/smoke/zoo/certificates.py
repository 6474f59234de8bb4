"""Certificates with a fault, made by OpenSSL's own command line."""

import subprocess
from pathlib import Path


def certificate(folder: Path, *, name: str, days: int, by: Path | None = None) -> Path:
    """Key and certificate in one file, signed by itself unless `by` an authority; `days` below 0 makes it expired."""
    key, request, path = folder / f"{name}.key", folder / f"{name}.csr", folder / f"{name}-{days}.pem"
    extensions = folder / f"{name}.ext"
    extensions.write_text(f"subjectAltName={'IP' if name[0].isdigit() else 'DNS'}:{name}\nbasicConstraints=CA:TRUE\n")
    _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
             "-subj", f"/CN={name}", "-out", request)  # fmt: skip
    signer: list[str | Path] = ["-CA", by, "-CAkey", by, "-CAcreateserial"] if by else ["-signkey", key]
    _openssl("x509", "-req", "-in", request, *signer, "-days", str(days), "-extfile", extensions, "-out", path)
    path.write_bytes(path.read_bytes() + key.read_bytes())
    return path


def _openssl(*argv: str | Path) -> None:
    subprocess.run(["openssl", *argv], check=True, capture_output=True)
