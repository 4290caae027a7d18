# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
import sys

import pytest

from vila_ros.datasets.writing.formats import FORMATS, format_of
from vila_ros.errors import InvalidRequest, Unsupported


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_there(name):
    assert isinstance(format_of(name).clip_folders, bool)


def test_an_unknown_format_is_refused():
    with pytest.raises(InvalidRequest, match="'coco' is not one of vila, webdataset"):
        format_of("coco")


def test_a_library_that_is_not_installed_is_named(monkeypatch):
    for name in list(sys.modules):
        if name.startswith("vila_ros.datasets.writing.lerobot"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(Unsupported, match="needs pyarrow, which is not installed: pip install"):
        format_of("lerobot")
