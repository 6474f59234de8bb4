import json
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pmpctl.errors import PmpctlError
from pmpctl.hub.checkpoint import read_checkpoint
from pmpctl.hub.files import Folder
from tests.unit.hub.checkpoints import framed, one_file, write_folder

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
_texts = _json.map(lambda value: json.dumps(value).encode())
_indexes = st.fixed_dictionaries(
    {"weight_map": _json, "metadata": _json | st.fixed_dictionaries({"total_size": _json})}
)
_file_contents = {
    "config.json": st.binary(max_size=50) | _texts | st.just(b"{}"),
    "hf_quant_config.json": st.binary(max_size=50) | _texts,
    "model.safetensors": st.binary(max_size=50) | _texts.map(framed) | st.just(one_file()["model.safetensors"]),
    "model.safetensors.index.json": st.binary(max_size=50) | _indexes.map(lambda value: json.dumps(value).encode()),
}


@given(st.fixed_dictionaries({}, optional=_file_contents))
def test_whatever_lies_in_a_folder_is_read_or_refused_by_name(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = read_checkpoint(Folder(write_folder(Path(folder), files)))
        except PmpctlError as error:
            assert error.cure
            return
    assert found.weights_bytes is None or found.weights_bytes >= 0
