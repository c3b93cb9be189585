"""The page on the format of a bundle names what the code reads, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from mien_engines import bundle, spec

PAGE = (Path(__file__).parents[2] / "docs" / "bundle-format.md").read_text("utf-8")
RECORDS = (
    spec.BundleSpec,
    spec.Source,
    spec.FileEntry,
    spec.GraphSpec,
    spec.TensorSpec,
    spec.Gate,
    spec.Form,
)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_field_of_a_record_is_on_the_page_with_its_default(record: type[BaseModel]) -> None:
    section = re.search(rf"^### {record.__name__}\b.*?(?=^##)", PAGE, re.MULTILINE | re.DOTALL)
    assert section is not None
    rows = re.findall(r"^\| (`[^|]*) \| ([^|]*) \|", section[0], re.MULTILINE)
    stated = {name: kind for names, kind in rows for name in re.findall(r"`(\w+)`", names)}
    assert stated.keys() == record.model_fields.keys()
    for name, field in record.model_fields.items():
        if name == "schema_version":
            assert stated[name] == str(spec.SCHEMA_VERSION)
        elif not field.is_required():
            shown = {"": '""', None: "null", False: "false"}
            default = field.default
            text = "{}" if default == {} else shown.get(default, str(default))
            assert stated[name].endswith(f", {text}"), name
        else:
            assert ", {}" not in stated[name]


def test_no_record_is_left_out() -> None:
    known = {
        value
        for value in vars(spec).values()
        if isinstance(value, type) and issubclass(value, BaseModel) and not value.__name__[0] == "_"
    }
    assert known - {BaseModel} == set(RECORDS)


def test_types_limits_and_names_are_those_of_the_code() -> None:
    for word in (*get_args(spec.DType), *get_args(spec.Precision)):
        assert f"`{word}`" in PAGE
    assert f"Schema version {spec.SCHEMA_VERSION}".lower() in PAGE.lower()
    assert f"at most {bundle.MAX_MANIFEST_BYTES >> 20} MiB" in PAGE
    assert f"more than {bundle.MAX_ZIP_RATIO} times" in PAGE
    assert "`[A-Za-z0-9][A-Za-z0-9._-]*`" in PAGE
    for file in (bundle.MANIFEST, bundle.CONSTANTS):
        assert f"`{file}`" in PAGE


def test_the_files_of_a_bundle_are_as_the_page_says() -> None:
    onnx = pytest.importorskip("onnx")
    folder = Path(bundle.__file__).parents[2] / "sdk" / "mien" / "zoo" / "lookalike"
    if not folder.is_dir():
        pytest.skip("mien's own bundles are not built")
    opened = bundle.Bundle.open(folder)
    for name in opened.spec.graphs:
        model = onnx.load(opened.graph_path(name), load_external_data=False)
        assert model.ir_version == 10
        assert {(o.domain, o.version) for o in model.opset_import} <= {("", 18), ("mien", 1)}
        assert {function.domain for function in model.functions} <= {"mien"}
        for tensor in model.graph.initializer:
            outside = {entry.key: entry.value for entry in tensor.external_data}
            count = 1
            for size in tensor.dims:
                count *= size
            assert bool(outside) == (count >= 256), tensor.name
            if outside:
                assert outside["location"] == "weights.safetensors"
                assert outside.keys() == {"location", "offset", "length"}
