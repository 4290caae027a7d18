# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Questions from asking to answer, on real frames and an engine that echoes what it was shown."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import pytest

from test.doubles import CrashingEngine, EchoEngine
from test.perception.messages import (
    START,
    compressed_message,
    image_message,
    jpeg,
    plain,
    png,
    scene,
)
from vila_ros.engine.interface import GenerationRequest, Stage, TextChunk
from vila_ros.errors import (
    Cancelled,
    DeadlineExceeded,
    EmptyWindow,
    EngineDown,
    EngineFailed,
    ErrorCode,
    InvalidImage,
    InvalidOutput,
    InvalidRequest,
    NotActive,
    OutOfMemory,
    QueueFull,
    UnknownCamera,
)
from vila_ros.perception.buffer import FrameBuffer
from vila_ros.perception.perceiver import Perceiver, PerceiverStatistics
from vila_ros.perception.questions import PerceiverDefaults
from vila_ros.perception.types import (
    Answer,
    DropReason,
    Example,
    MessageKind,
    Progress,
    Question,
    Sampling,
)

MS = 1_000_000
PATIENCE = 20.0  # seconds after which a test gives up waiting
SLOW = 3600.0  # seconds a token: an engine that is busy for as long as a test needs
BLOCKED = Question("blocks the engine", sampling=Sampling.NONE)
WITHOUT_FRAMES = Question("hello", sampling=Sampling.NONE)


def camera(name: str, colours: list[tuple[int, int, int]]) -> FrameBuffer:
    """A raw camera with a frame of each colour, 100 ms apart."""
    buffer = FrameBuffer(name, MessageKind.IMAGE)
    for index, colour in enumerate(colours):
        stamp = START + index * 100 * MS
        data = image_message(plain(colour), stamp_ns=stamp, frame_id=f"{name}_optical")
        assert buffer.add(data, 0) is None
    return buffer


def damaged_png() -> bytes:
    data = bytearray(png(scene()))
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


class Asked:
    """A question that was submitted, and what its callbacks were told."""

    def __init__(self, perceiver: Perceiver, question: Question, *, background: bool = False):
        self.progress: list[Progress] = []
        self.answers: list[Answer] = []
        self.done = threading.Event()
        self.seen = threading.Condition()
        self.ticket = perceiver.submit(
            question, on_progress=self._note, on_done=self._finish, background=background
        )

    def _note(self, progress: Progress) -> None:
        assert not self.answers
        with self.seen:
            self.progress.append(progress)
            self.seen.notify_all()

    def _finish(self, answer: Answer) -> None:
        self.answers.append(answer)
        self.done.set()

    def reached(self, stage: Stage) -> "Asked":
        with self.seen:
            assert self.seen.wait_for(
                lambda: any(each.stage >= stage for each in self.progress), PATIENCE
            )
        return self

    @property
    def answer(self) -> Answer:
        assert self.done.wait(PATIENCE)
        assert len(self.answers) == 1
        return self.answers[0]


Make = Callable[..., Perceiver]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes Perceivers and closes them."""
    made: list[Perceiver] = []

    def perceiver(engine=None, buffers=None, **defaults) -> Perceiver:
        if buffers is None:
            buffers = {"front": camera("front", [(255, 0, 0), (0, 255, 0), (0, 0, 255)])}
        engine = engine or EchoEngine("echo")
        engine.load()
        made.append(Perceiver(buffers, engine, replace(PerceiverDefaults(), **defaults)))
        return made[-1]

    yield perceiver
    for each in made:
        each.close()


def settled(perceiver: Perceiver) -> PerceiverStatistics:
    """Statistics once no thread works for a question any more."""
    with perceiver._changed:
        assert perceiver._changed.wait_for(lambda: not perceiver._running, PATIENCE)
    return perceiver.statistics()


class TestAnswers:
    def test_the_frames_of_the_window_are_shown_with_camera_and_time(self, make):
        answer = make().ask(Question("What changed?"))
        assert answer.error is None
        words = answer.text.split()
        assert [word.split(":")[-1] for word in words if ":8x8:" in word] == [
            "#ff0000", "#00ff00", "#0000ff",
        ]  # fmt: skip
        assert answer.text.startswith("front camera, 0.2 s before: front@")
        assert answer.text.endswith("What changed?")
        assert [(f.camera, f.stamp_ns, f.frame_id) for f in answer.frames] == [
            ("front", START + ms * MS, "front_optical") for ms in (0, 100, 200)
        ]
        assert answer.window_ns == (START, START + 200 * MS)
        assert (answer.model, answer.runtime) == ("echo", "echo")

    def test_cameras_images_examples_and_system_prompt_are_all_shown(self, make):
        perceiver = make(
            EchoEngine("echo", whole=True),
            {"front": camera("front", [(255, 0, 0)]), "rear": camera("rear", [(0, 255, 0)])},
            system_prompt="Watch.",
        )
        answer = perceiver.ask(
            Question(
                "Which?",
                images=(png(plain((0, 0, 255))),),
                examples=(Example((png(plain((9, 9, 9))),), "This?", "Grey."),),
            )
        )
        assert answer.error is None
        text = answer.text
        parts = ["system: Watch.", "#090909 This?", "assistant: Grey.", "user: front camera,"]
        parts += ["#ff0000", "rear camera,", "#00ff00", "attached image:", "#0000ff Which?"]
        assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)
        assert [frame.camera for frame in answer.frames] == ["front", "rear"]

    def test_a_question_can_do_without_frames(self, make):
        answer = make(buffers={}).ask(WITHOUT_FRAMES)
        assert (answer.text, answer.frames, answer.error) == ("hello", (), None)

    def test_times_are_honest(self, make):
        answer = make(EchoEngine("echo", delay=0.01)).ask(Question("one two three"))
        assert 0 < answer.decode_time <= answer.queue_time
        assert answer.queue_time < answer.time_to_first_token < answer.total_time
        assert answer.stats.completion_tokens == len(answer.text.split())
        assert answer.stats.total_time <= answer.total_time

    def test_a_schema_gives_json_that_satisfies_it(self, make):
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        answer = make().ask(Question("How many?", json_schema=json.dumps(schema)))
        assert answer.error is None
        assert json.loads(answer.json) == {"n": 0}
        assert answer.text == answer.json

    def test_json_that_was_cut_is_refused_and_the_text_kept(self, make):
        schema = {"type": "object", "required": ["a", "b"], "properties": {"a": {}, "b": {}}}
        answer = make().ask(Question("Q", json_schema=json.dumps(schema), max_tokens=2))
        assert isinstance(answer.error, InvalidOutput)
        assert "cut at max_tokens" in answer.error.message
        assert (answer.json, bool(answer.text)) == ("", True)

    def test_a_choice_is_one_of_them(self, make):
        question = Question("left or right", choices=("go straight", "go right"))
        answer = make().ask(question)
        assert answer.text == "go straight"
        assert answer.choice_probabilities == pytest.approx((0.7, 0.3))
        cut = make().ask(replace(question, max_tokens=1))
        assert isinstance(cut.error, InvalidOutput)
        assert "'go' is none of the 2 choices" in cut.error.message

    def test_frames_are_those_of_the_moment_of_asking(self, make):
        buffers = {"front": camera("front", [(255, 0, 0)])}
        perceiver = make(EchoEngine("echo", delay=SLOW, max_concurrency=1), buffers)
        blocking = Asked(perceiver, BLOCKED).reached(Stage.ENCODING)
        asked = Asked(perceiver, Question("Then?"))
        buffers["front"].clear()
        blocking.ticket.cancel()
        asked.reached(Stage.ENCODING)
        asked.ticket.cancel()
        assert [frame.stamp_ns for frame in asked.answer.frames] == [START]

    def test_a_window_that_slides_by_a_frame_encodes_one(self, make):
        buffers = {"front": camera("front", [(i, i, i) for i in range(8)])}
        perceiver = make(buffers=buffers, sampling=Sampling.LATEST)
        assert perceiver.ask(Question("Q")).stats.images_encoded == 8
        buffers["front"].add(image_message(plain((9, 9, 9)), stamp_ns=START + 800 * MS), 0)
        stats = perceiver.ask(Question("Q")).stats
        assert (stats.images_encoded, stats.images_cached) == (1, 7)

    def test_keyframes_show_where_the_picture_changed(self, make):
        colours = [(0, 0, 0)] * 4 + [(200, 200, 200)] * 3 + [(90, 90, 90)] * 3
        perceiver = make(buffers={"front": camera("front", colours)})
        answer = perceiver.ask(Question("Q", sampling=Sampling.KEYFRAMES, max_frames=3))
        shown = [word.split(":")[-1] for word in answer.text.split() if ":8x8:" in word]
        assert shown == ["#000000", "#c8c8c8", "#5a5a5a"]


class TestProgress:
    def test_it_grows_through_the_stages_to_the_answer(self, make):
        asked = Asked(make(EchoEngine("echo", delay=0.002)), Question("a b c d e"))
        answer = asked.answer
        stages = [each.stage for each in asked.progress]
        assert stages == sorted(stages)
        assert stages[-1] is Stage.GENERATING
        texts = [each.text for each in asked.progress]
        assert all(longer.startswith(text) for text, longer in pairwise(texts))
        assert texts[-1] == answer.text
        assert asked.progress[-1].tokens == answer.stats.completion_tokens

    def test_callbacks_that_raise_do_no_harm(self, make, caplog):
        perceiver = make()

        def fail(_):
            raise ValueError("a bug of the caller")

        perceiver.submit(Question("Q"), on_progress=fail, on_done=fail)
        assert perceiver.ask(Question("Q")).error is None
        assert "a bug of the caller" in caplog.text


class TestRefusals:
    @pytest.mark.parametrize(
        ("question", "error"),
        [
            (Question(""), InvalidRequest),
            (Question("Q", cameras=("rear",)), UnknownCamera),
            (Question("Q", start_ns=1, end_ns=2), EmptyWindow),
            (Question("Q", images=(jpeg(scene())[:-20],)), InvalidImage),
        ],
    )
    def test_what_cannot_be_answered_comes_back_as_an_error(self, make, question, error):
        perceiver = make()
        answer = perceiver.ask(question)
        assert isinstance(answer.error, error)
        assert answer.total_time > 0
        assert perceiver.statistics().failed == {ErrorCode(error.code): 1}

    def test_a_full_queue(self, make):
        perceiver = make(EchoEngine("echo", delay=SLOW, max_concurrency=1), queue_size=2)
        running = Asked(perceiver, BLOCKED).reached(Stage.ENCODING)
        waiting = [Asked(perceiver, BLOCKED) for _ in range(2)]
        refused = Asked(perceiver, BLOCKED).answer
        assert isinstance(refused.error, QueueFull)
        assert "queue_size 2" in refused.error.message
        statistics = perceiver.statistics()
        assert (statistics.running, statistics.waiting, statistics.queue_size) == (1, 2, 2)
        perceiver.set_defaults(PerceiverDefaults(queue_size=3))
        waiting.append(Asked(perceiver, BLOCKED))
        assert perceiver.statistics().waiting == 3
        assert not any(each.done.is_set() for each in (running, *waiting))

    def test_a_damaged_frame_fails_once_and_is_dropped(self, make):
        buffer = FrameBuffer("front", MessageKind.COMPRESSED_IMAGE)
        for index, file in enumerate([jpeg(scene()), damaged_png()]):
            data = compressed_message(file, stamp_ns=START + index * 100 * MS)
            assert buffer.add(data, 0) is None
        perceiver = make(buffers={"front": buffer})
        answer = perceiver.ask(Question("Q"))
        assert isinstance(answer.error, InvalidImage)
        assert "Camera 'front', frame of 1000.100 s" in answer.error.message
        assert buffer.statistics().dropped == {DropReason.UNDECODABLE: 1}
        assert perceiver.ask(Question("Q")).error is None

    def test_a_damaged_frame_is_no_keyframe(self, make):
        buffer = FrameBuffer("front", MessageKind.COMPRESSED_IMAGE)
        for index, file in enumerate([damaged_png(), jpeg(scene()), damaged_png()]):
            buffer.add(compressed_message(file, stamp_ns=START + index * 100 * MS), 0)
        answer = make(buffers={"front": buffer}).ask(Question("Q", sampling=Sampling.KEYFRAMES))
        assert answer.error is None
        assert [frame.stamp_ns for frame in answer.frames] == [START + 100 * MS]
        assert buffer.statistics().dropped == {DropReason.UNDECODABLE: 2}


class DownEngine(EchoEngine):
    """An engine whose worker is away."""

    def load(self):
        return None

    def generate(self, request: GenerationRequest) -> Iterator[TextChunk]:
        raise EngineDown("The engine is restarting; ask again in a few seconds.")


class DeafEngine(EchoEngine):
    """Says one word and then hangs, deaf to cancel and deadline, until released."""

    def __init__(self) -> None:
        super().__init__("deaf", max_concurrency=1)
        self.released = threading.Event()
        self.cancelled: list[str] = []

    def generate(self, request: GenerationRequest) -> Iterator[TextChunk]:
        yield TextChunk("word", 1)
        self.released.wait(PATIENCE)
        yield TextChunk(" too late", 2)

    def cancel(self, request_id: str) -> None:
        self.cancelled.append(request_id)


class TestEngineErrors:
    def test_an_engine_that_is_down(self, make):
        answer = make(DownEngine("down")).ask(Question("Q"))
        assert isinstance(answer.error, EngineDown)
        assert len(answer.frames) == 3

    def test_an_error_in_the_middle_keeps_the_text(self, make):
        answer = make(CrashingEngine("crash")).ask(replace(WITHOUT_FRAMES, prompt="a b !vila-oom"))
        assert isinstance(answer.error, OutOfMemory)
        assert answer.text == "a b"

    def test_a_bug_in_a_runtime_is_an_internal_error(self, make, caplog):
        perceiver = make(CrashingEngine("crash"))
        answer = perceiver.ask(replace(WITHOUT_FRAMES, prompt="a !raise"))
        assert answer.error is not None
        assert answer.error.code is ErrorCode.INTERNAL
        assert "RuntimeError: the runtime has a bug" in answer.error.message
        assert "the runtime has a bug" in caplog.text
        assert perceiver.ask(WITHOUT_FRAMES).text == "hello"

    def test_an_answer_without_an_end(self, make):
        engine = DeafEngine()
        engine.released.set()
        assert isinstance(make(engine).ask(WITHOUT_FRAMES).error, EngineFailed)


@pytest.mark.parametrize("kind", [EchoEngine, DownEngine])
def test_each_of_many_questions_is_answered_once(make, kind):
    # Asked one after the other: an engine that answers at once, or refuses to, ends a question
    # while its stages are still being told.
    perceiver, asked = make(kind("echo")), []
    for _ in range(300):
        asked.append(Asked(perceiver, WITHOUT_FRAMES))
        assert asked[-1].done.wait(PATIENCE)
    settled(perceiver)
    perceiver.close()
    assert [len(each.answers) for each in asked] == [1] * len(asked)


class TestEndingEarly:
    def test_cancel_while_it_waits(self, make):
        perceiver = make(EchoEngine("echo", delay=SLOW, max_concurrency=1))
        Asked(perceiver, BLOCKED).reached(Stage.ENCODING)
        asked = Asked(perceiver, Question("Q"))
        asked.ticket.cancel()
        assert isinstance(asked.answer.error, Cancelled)
        assert asked.answer.error.message == "Cancelled while it waited."
        assert perceiver.statistics().waiting == 0

    def test_cancel_while_it_writes(self, make):
        perceiver = make(EchoEngine("echo", delay=0.01))
        asked = Asked(perceiver, replace(WITHOUT_FRAMES, prompt="word " * 4000, max_tokens=4000))
        asked.reached(Stage.GENERATING).ticket.cancel()
        assert isinstance(asked.answer.error, Cancelled)
        assert asked.answer.text.startswith("word")
        assert settled(perceiver).running == 0
        asked.ticket.cancel()
        assert asked.answer is asked.answers[0]

    def test_cancel_does_not_wait_for_an_engine_that_does_not_listen(self, make):
        engine = DeafEngine()
        perceiver = make(engine)
        asked = Asked(perceiver, WITHOUT_FRAMES).reached(Stage.GENERATING)
        asked.ticket.cancel()
        assert isinstance(asked.answer.error, Cancelled)
        assert asked.answer.text == "word"
        assert engine.cancelled == [asked.ticket.request_id]
        assert perceiver.statistics().running == 1  # the engine's place is still taken
        engine.released.set()
        assert settled(perceiver).running == 0
        assert asked.answers[0].text == "word"

    def test_the_stream_of_a_cancelled_question_is_closed(self, make):
        closed = threading.Event()

        class Endless(EchoEngine):
            """Goes on until its stream is closed."""

            def generate(self, request: GenerationRequest) -> Iterator[TextChunk]:
                try:
                    while True:
                        yield TextChunk("word ", 1)
                        time.sleep(0.001)
                finally:
                    closed.set()

        perceiver = make(Endless("endless"))
        Asked(perceiver, WITHOUT_FRAMES).reached(Stage.GENERATING).ticket.cancel()
        assert closed.wait(PATIENCE)
        assert settled(perceiver).running == 0

    def test_the_deadline_ends_it_while_it_waits_and_while_the_engine_hangs(self, make):
        for allowed in (0.2, 2.0, 20.0):
            engine = DeafEngine()
            perceiver = make(engine)
            running = Asked(perceiver, replace(WITHOUT_FRAMES, deadline=allowed))
            waiting = Asked(perceiver, replace(WITHOUT_FRAMES, deadline=0.1))
            assert isinstance(waiting.answer.error, DeadlineExceeded)
            assert "deadline of 0.1 s passed while it waited" in waiting.answer.error.message
            assert isinstance(running.answer.error, DeadlineExceeded)
            if running.answer.text:  # else a busy machine did not begin in time
                break
            engine.released.set()
        assert "while its answer was written" in running.answer.error.message
        assert running.answer.text == "word"
        assert engine.cancelled == [running.ticket.request_id]
        engine.released.set()

    def test_the_engine_is_given_the_question_as_it_was_asked(self, make):
        requests: list[GenerationRequest] = []

        class Noting(EchoEngine):
            def generate(self, request: GenerationRequest) -> Iterator[TextChunk]:
                requests.append(request)
                return super().generate(request)

        question = replace(
            WITHOUT_FRAMES, deadline=3000.0, max_tokens=7, temperature=0.5, seed=11, choices=("a",)
        )
        before = time.monotonic()
        assert make(Noting("echo")).ask(question).error is None
        (request,) = requests
        assert before + 3000.0 <= request.deadline <= time.monotonic() + 3000.0
        assert (request.max_tokens, request.temperature, request.seed) == (7, 0.5, 11)
        assert (request.choices, request.json_schema) == (("a",), None)

    def test_the_deadline_ends_an_engine_that_is_slow(self, make):
        perceiver = make(EchoEngine("echo", delay=SLOW))
        answer = perceiver.ask(replace(WITHOUT_FRAMES, deadline=0.05))
        assert isinstance(answer.error, DeadlineExceeded)
        assert answer.total_time >= 0.05
        assert settled(perceiver).running == 0

    def test_the_limit_is_named_whoever_notices_first(self, make):
        class Punctual(EchoEngine):
            def generate(self, request: GenerationRequest) -> Iterator[TextChunk]:
                raise DeadlineExceeded("an engine's own words")

        answer = make(Punctual("punctual")).ask(replace(WITHOUT_FRAMES, deadline=30.0))
        assert isinstance(answer.error, DeadlineExceeded)
        assert "The deadline of 30 s passed" in answer.error.message

    def test_close_ends_everything_and_all_threads(self, make):
        perceiver = make(EchoEngine("echo", delay=SLOW, max_concurrency=1))
        before = set(threading.enumerate())
        running = Asked(perceiver, Question("Q")).reached(Stage.ENCODING)
        waiting = [Asked(perceiver, Question("Q", sampling=Sampling.KEYFRAMES)) for _ in range(3)]
        background = Asked(perceiver, Question("Q"), background=True)
        perceiver.close()
        for asked in (running, *waiting, background):
            assert isinstance(asked.answer.error, Cancelled)
        after = perceiver.ask(Question("Q"))
        assert isinstance(after.error, NotActive)
        perceiver.close()
        ours = [t for t in threading.enumerate() if t not in before and t.name != "MainThread"]
        for thread in ours:
            thread.join(PATIENCE)
        assert not any(thread.is_alive() for thread in ours)


class TestOrder:
    def test_priority_then_deadline_then_arrival(self, make):
        perceiver = make(EchoEngine("echo", max_concurrency=1, delay=0.05))
        order: list[str] = []
        blocking = Asked(perceiver, BLOCKED).reached(Stage.ENCODING)
        questions = {
            "third": Question("third", sampling=Sampling.NONE, deadline=40.0),
            "low": Question("low", sampling=Sampling.NONE, priority=-10),
            "second": Question("second", sampling=Sampling.NONE, deadline=30.0),
            "first": Question("first", sampling=Sampling.NONE, priority=10),
        }
        done = threading.Barrier(2)

        def note(answer: Answer) -> None:
            order.append(answer.text)
            if len(order) == len(questions):
                done.wait(PATIENCE)

        for question in questions.values():
            perceiver.submit(question, on_done=note)
        blocking.ticket.cancel()
        done.wait(PATIENCE)
        assert order == ["first", "second", "third", "low"]

    def test_as_many_run_side_by_side_as_the_engine_takes(self, make):
        perceiver = make(EchoEngine("echo", delay=SLOW, max_concurrency=3))
        asked = [Asked(perceiver, BLOCKED) for _ in range(5)]
        for each in asked[:3]:
            each.reached(Stage.ENCODING)
        statistics = perceiver.statistics()
        assert (statistics.running, statistics.waiting) == (3, 2)
        asked[1].ticket.cancel()
        asked[3].reached(Stage.ENCODING)
        assert perceiver.statistics().waiting == 1

    def test_many_threads_ask_at_once(self, make):
        perceiver = make(EchoEngine("echo", max_concurrency=3), queue_size=1000)
        answers: list[Answer] = []
        threads = [
            threading.Thread(target=lambda: answers.append(perceiver.ask(Question("Q"))))
            for _ in range(30)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert [answer.error for answer in answers] == [None] * 30
        assert len({answer.text for answer in answers}) == 1
        statistics = settled(perceiver)
        assert (statistics.answered, statistics.running, statistics.waiting) == (30, 0, 0)


class TestBackground:
    def test_it_is_answered_when_nothing_else_is_asked(self, make):
        assert Asked(make(), Question("Q"), background=True).answer.error is None

    def test_it_waits_while_a_question_runs_even_where_the_engine_has_room(self, make):
        perceiver = make(EchoEngine("echo", delay=SLOW, max_concurrency=4))
        question = Asked(perceiver, BLOCKED).reached(Stage.ENCODING)
        background = Asked(perceiver, Question("Q"), background=True)
        statistics = perceiver.statistics()
        assert (statistics.waiting_background, statistics.running) == (1, 1)
        question.ticket.cancel()
        background.reached(Stage.ENCODING)

    def test_a_question_preempts_it_and_does_not_wait_for_it(self, make):
        engine = DeafEngine()
        perceiver = make(engine)
        background = Asked(perceiver, Question("Q"), background=True).reached(Stage.GENERATING)
        question = Asked(perceiver, WITHOUT_FRAMES)
        assert isinstance(background.answer.error, Cancelled)
        assert "Preempted" in background.answer.error.message
        question.reached(Stage.GENERATING)  # although the engine has not let the other go
        assert engine.cancelled == [background.ticket.request_id]
        engine.released.set()

    def test_questions_come_before_it_whenever_they_were_asked(self, make):
        perceiver = make(EchoEngine("echo", max_concurrency=1, delay=0.005))
        blocking = Asked(perceiver, BLOCKED).reached(Stage.ENCODING)
        background = Asked(perceiver, WITHOUT_FRAMES, background=True)
        questions = [Asked(perceiver, WITHOUT_FRAMES) for _ in range(3)]
        blocking.ticket.cancel()
        assert background.answer.error is None
        assert all(each.done.is_set() for each in questions)

    def test_it_takes_no_place_in_the_queue(self, make):
        perceiver = make(EchoEngine("echo", delay=SLOW, max_concurrency=1), queue_size=1)
        Asked(perceiver, BLOCKED).reached(Stage.ENCODING)
        Asked(perceiver, WITHOUT_FRAMES, background=True)
        assert isinstance(Asked(perceiver, WITHOUT_FRAMES, background=True).answer.error, QueueFull)
        Asked(perceiver, BLOCKED)
        statistics = perceiver.statistics()
        assert (statistics.waiting, statistics.waiting_background) == (1, 1)

    def test_its_deadline_passes_while_it_waits(self, make):
        perceiver = make(EchoEngine("echo", delay=SLOW, max_concurrency=1))
        Asked(perceiver, BLOCKED).reached(Stage.ENCODING)
        background = Asked(perceiver, replace(WITHOUT_FRAMES, deadline=0.05), background=True)
        assert isinstance(background.answer.error, DeadlineExceeded)
