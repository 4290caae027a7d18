"""Choice probabilities are those that scoring each choice by itself gives."""

import pytest
import torch

from vila_ros.engine.interface import FinishReason
from vila_ros.errors import PromptTooLong
from vila_ros.model.choices import needs_end
from vila_ros.model.decoder import Decoder
from vila_ros.model.generation import Generator


@pytest.fixture(scope="module")
def brute_force(checkpoint):
    """Probabilities by one plain forward for each choice."""
    from vila_ros.model.checkpoint import load_vila

    vila = load_vila(checkpoint)

    @torch.inference_mode()
    def probabilities(request):
        prompt = vila.embed_prompt(vila.render(request.messages))
        tokens = [vila.tokenizer.encode(c, add_special_tokens=False) for c in request.choices]
        scores = []
        for choice, end in zip(tokens, needs_end([tuple(t) for t in tokens]), strict=True):
            embeddings = torch.cat([prompt, vila.embed_tokens(torch.tensor(choice))])
            logits = vila.language_model(inputs_embeds=embeddings[None]).logits[0].double()
            following = logits.log_softmax(-1)[len(prompt) - 1 :]
            score = sum(following[depth, token] for depth, token in enumerate(choice))
            if end:
                score += following[len(choice), list(vila.stop_token_ids)].logsumexp(-1)
            scores.append(score)
        return torch.stack(scores).softmax(-1).tolist()

    return probabilities


@pytest.mark.parametrize(
    "choices",
    [
        ("yes", "no"),
        ("no", "no idea", "no idea at all"),
        ("a red car", "a person on a bicycle", "x", "nothing"),
        tuple(f"option {i}" for i in range(60)),
        ("only one",),
        ("e", "e!", "x"),
    ],
)
def test_probabilities_equal_brute_force(generator, ask, answer, images, brute_force, choices):
    request = ask("which?", images[:2], choices=choices)
    text, last = answer(generator.submit(request))
    expected = brute_force(request)
    assert last.choice_probabilities == pytest.approx(expected, abs=1e-6, rel=1e-4)
    assert sum(last.choice_probabilities) == pytest.approx(1.0)
    assert text == choices[expected.index(max(expected))]
    assert last.finish_reason is FinishReason.STOP


class Counting(Decoder):
    """A decoder that counts its forwards."""

    forwards = 0

    def _forward(self, *args):
        self.forwards += 1
        return super()._forward(*args)


def test_single_tokens_cost_one_forward(vila, ask, answer):
    decoders = []

    def make(cache):
        decoders.append(Counting(vila.language_model, cache))
        return decoders[0]

    generator = Generator(vila, decoder=make)
    choices = tuple(
        vila.tokenizer.decode([vila.tokenizer.encode(word, add_special_tokens=False)[0]])
        for word in ("yes", "no")
    )
    assert all(len(vila.tokenizer.encode(c, add_special_tokens=False)) == 1 for c in choices)
    answer(generator.submit(ask("is it?", choices=choices)))
    assert decoders[0].forwards == 1
    generator.close()


def test_choices_are_drawn_by_their_tempered_probabilities(generator, ask, answer):
    options = {"choices": ("yes", "no", "maybe"), "temperature": 20.0}
    texts = [answer(generator.submit(ask("is it?", seed=s, **options)))[0] for s in range(40)]
    assert len(set(texts)) > 1
    assert answer(generator.submit(ask("is it?", seed=5, **options)))[0] == texts[5]


def test_a_choice_that_does_not_fit_is_an_error(generator, ask):
    with pytest.raises(PromptTooLong, match="for the answer"):
        list(generator.submit(ask("which?", choices=("no", "word " * 2000))))


def test_scratch_rows_are_not_taken_for_the_prompt(generator, ask, answer, brute_force):
    """Scoring writes behind the prompt; the next question must not find that there."""
    first = ask("which?", choices=("alpha beta", "gamma delta"))
    answer(generator.submit(first))
    again = ask("which?", choices=("epsilon zeta eta", "gamma delta"))
    _, last = answer(generator.submit(again))
    assert last.choice_probabilities == pytest.approx(brute_force(again), abs=1e-6, rel=1e-4)


def test_a_choice_that_begins_another_needs_its_end():
    assert needs_end([(1,), (1, 2), (3,)]) == [True, False, False]
    assert needs_end([(1, 2), (1, 3)]) == [False, False]
    assert needs_end([(1, 2), (1, 2)]) == [True, True]
