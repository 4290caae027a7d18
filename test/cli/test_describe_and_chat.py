"""`vila describe` and `vila chat`, as a person runs them."""

import io
import json
import sys

import av
import numpy as np
import pytest
from PIL import Image

from vila_ros.cli.main import main
from vila_ros.cli.media import read_image, read_video
from vila_ros.errors import InvalidImage
from vila_ros.model.random_checkpoint import write_random_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, a picture, a video of 20 frames of growing brightness, and damaged files."""
    folder = tmp_path_factory.mktemp("describe")
    write_random_checkpoint(folder / "model")
    Image.new("RGB", (64, 48), (200, 30, 30)).save(folder / "red.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    (folder / "broken.mp4").write_bytes(b"not a video")
    (folder / "schema.json").write_text('{"type": "integer", "minimum": 0, "maximum": 9}')
    with av.open(str(folder / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(20):
            picture = np.full((48, 64, 3), 10 * i, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return folder


@pytest.fixture
def vila(folder, capsys, monkeypatch):
    """Run a verb in this process; returns exit status, standard output and standard error."""

    def vila(verb, *arguments, said=""):
        monkeypatch.setattr(sys, "stdin", io.StringIO(said))
        words = [verb, *map(str, arguments), "--model", str(folder / "model"), "--threads", "1"]
        capsys.readouterr()
        status = main(words)
        return status, *capsys.readouterr()

    return vila


def test_describe_streams_an_answer_and_its_cost(folder, vila):
    status, said, costs = vila("describe", folder / "red.png", "--max-tokens", 5, "--stats")
    assert status == 0
    assert said.strip()
    assert "5 generated; vision" in costs
    assert "(1 encoded, 0 kept)" in costs


def test_describe_gives_the_probabilities_of_choices(folder, vila):
    _, said, costs = vila(
        "describe", folder / "clip.mp4", "--frames", 3, "--choices", "yes, no", "--stats"
    )
    answer, *lines = said.splitlines()
    assert answer in ("yes", "no")
    assert [line.split()[1] for line in lines] == ["yes", "no"]
    assert sum(float(line.split()[0]) for line in lines) == pytest.approx(1.0, abs=2e-4)
    assert "(3 encoded, 0 kept)" in costs


def test_describe_holds_the_answer_to_a_schema(folder, vila):
    _, said, _ = vila("describe", folder / "red.png", "--json-schema", folder / "schema.json")
    assert 0 <= json.loads(said) <= 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.png",), "none.png: no such file"),
        (("broken.jpg",), "broken.jpg: not a readable picture"),
        (("broken.mp4",), "broken.mp4: not a readable video"),
        (("none.mp4",), "none.mp4: no such file"),
        (("red.png", "--json-schema", "none.json"), "none.json: cannot be read"),
        (("red.png", "--frames", 0), "--frames is 0"),
        (("red.png", "--max-tokens", 0), "max_tokens is 0"),
        (("red.png", "--max-tokens", 99999), "99999 for the answer exceed the context"),
        (("red.png", "--device", "abacus"), "abacus"),
    ],
)
def test_a_mistake_is_one_clear_line(folder, vila, arguments, message):
    status, said, complaint = vila(
        "describe", *(folder / a if "." in str(a) else a for a in arguments)
    )
    assert (status, said) == (1, "")
    assert complaint.startswith("vila describe: ")
    assert message in complaint
    assert len(complaint.splitlines()) == 1


def test_frames_of_a_video_are_evenly_spread(folder):
    frames = read_video(folder / "clip.mp4", 5)
    brightness = [int(frame.mean()) for frame in frames]
    assert brightness == pytest.approx([0, 50, 100, 140, 190], abs=8)
    assert frames[0].shape == (48, 64, 3)
    assert len(read_video(folder / "clip.mp4", 99)) == 20


def test_pictures_are_turned_upright(folder):
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera on its side
    Image.new("RGB", (64, 48)).save(folder / "turned.jpg", exif=exif)
    assert read_image(folder / "turned.jpg").shape == (64, 48, 3)


def test_an_empty_picture_is_refused(folder):
    (folder / "empty.png").write_bytes(b"")
    with pytest.raises(InvalidImage, match=r"empty\.png: not a readable picture"):
        read_image(folder / "empty.png")


def test_chat_answers_from_a_pipe_and_keeps_what_was_said(folder, vila):
    said = f"""/image {folder / "red.png"}
What is this?
And why?
/image nothing.png
/dance
/clear
Hello
/quit
not read
"""
    status, answers, rest = vila("chat", "--max-tokens", 4, "--stats", said=said)
    assert status == 0
    costs = [line for line in rest.splitlines() if "prompt tokens" in line]
    assert len(costs) == 3
    assert "(1 encoded, 0 kept)" in costs[0]
    # The second question stands behind the first and its answer, picture included.
    assert "(0 encoded, 1 kept)" in costs[1]
    assert "(0 encoded, 0 kept)" in costs[2]
    assert "error: nothing.png: no such file" in rest
    assert "/dance is unknown" in answers


def test_chat_goes_on_after_a_line_that_is_not_utf8(folder, capsys, monkeypatch):
    for errors in ("strict", "surrogateescape"):  # what Python chooses by the locale
        said = io.TextIOWrapper(io.BytesIO(b"caf\xe9?\n/nope\n"), "utf-8", errors)
        monkeypatch.setattr(sys, "stdin", said)
        assert main(["chat", "--model", str(folder / "model"), "--max-tokens", "2"]) == 0
        answered, complaints = capsys.readouterr()
        assert "/nope is unknown" in answered
        assert "error" not in complaints


def test_chat_help_and_the_end_of_input(vila):
    status, said, _ = vila("chat", said="/help\n")
    assert status == 0
    assert "/video PATH" in said
