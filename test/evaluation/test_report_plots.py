# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Plots are whole whatever the values are."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from vila_ros.evaluation.metrics import CalibrationBin, match_events
from vila_ros.evaluation.report_plots import (
    calibration_plot,
    differences_plot,
    events_plot,
    histogram,
    rates_plot,
    series_plot,
)

NASTY = "<b>&\"'"
PLOTS = {
    "rates": lambda: rates_plot([(NASTY, [("m", 0.5, (0.2, 0.8)), ("n", None, None)])]),
    "no rates": lambda: rates_plot([]),
    "differences": lambda: differences_plot([(NASTY, 0.1, -0.2, 0.4, "better")]),
    "no difference": lambda: differences_plot([("a", 0.0, 0.0, 0.0, "no difference shown")]),
    "calibration": lambda: calibration_plot({NASTY: [CalibrationBin(0.9, 1.0, 5, 0.95, 0.6)]}),
    "series": lambda: series_plot([(0, 1.0), (1, 2.0)], {NASTY: [(0, 1e9), (1, -1e9)]}, 0.5),
    "one point": lambda: series_plot([(3, 0.0)], {"m": [(3, 0.0)]}, 0.0),
    "nothing": lambda: series_plot([], {"m": []}, 0.0),
    "huge": lambda: series_plot([(0, 1e300)], {"m": [(0, -1e300)]}, 0.0),
    "events": lambda: events_plot({NASTY: match_events([1, 5], [1.5, 9], 1)}, 10.0),
    "no time": lambda: events_plot({"m": match_events([], [], 1)}, 0.0),
    "histogram": lambda: histogram({NASTY: [0.0, 0.5, 1.0]}, NASTY),
    "no scores": lambda: histogram({"m": []}, "t"),
}


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_is_well_formed_and_inside_of_its_frame(name):
    text = PLOTS[name]()
    root = ElementTree.fromstring(text)
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert "nan" not in text
    assert "inf" not in text.replace("infinite", "")
    width, height = (float(each) for each in root.get("viewBox").split()[2:])
    for circle in root.iter("circle"):
        assert -1 <= float(circle.get("cx")) <= width + 1
        assert -1 <= float(circle.get("cy")) <= height + 1
