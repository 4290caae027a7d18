"""What was computed is found again, within the limits."""

import numpy as np
import torch
from transformers import LlamaConfig

from vila_ros.engine.interface import ImagePart, VideoPart
from vila_ros.model.embedding_cache import EmbeddingCache, media_digest
from vila_ros.model.kv_cache import SlotCache
from vila_ros.model.prefix_cache import SlotTable, common_prefix
from vila_ros.model.prompt import media_names, text_names

PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)


def rows(tokens):
    return text_names(list(tokens))


def make_table(slots):
    cache = SlotCache(
        LlamaConfig(
            hidden_size=8, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1
        ),
        slots=slots,
        context_length=64,
        dtype=torch.float32,
        device=torch.device("cpu"),
    )
    return cache, SlotTable(cache)


def use(table, prompt):
    """Take a slot, compute the whole prompt, and free it."""
    place = table.take(prompt)
    table.computed(place.slot, prompt)
    table.release(place.slot)
    return place


def test_images_are_named_by_key_or_by_pixels_and_shape():
    assert media_digest(ImagePart(PIXELS)) == media_digest(ImagePart(PIXELS.copy()))
    assert media_digest(ImagePart(PIXELS, "a")) == media_digest(ImagePart(PIXELS[:1], "a"))
    changed = PIXELS.copy()
    changed[0, 0, 0] += 1
    different = [
        ImagePart(PIXELS),
        ImagePart(changed),
        ImagePart(PIXELS.reshape(4, 2, 3)),
        ImagePart(PIXELS, "a"),
        ImagePart(PIXELS, "b"),
        VideoPart((PIXELS,)),
        VideoPart((PIXELS, PIXELS)),
        VideoPart((PIXELS,), "a"),
    ]
    digests = {media_digest(part) for part in different}
    digests.add(media_digest(ImagePart(PIXELS), tiled=True))
    assert len(digests) == len(different) + 1


def test_pixels_need_not_be_contiguous():
    turned = PIXELS[:, ::-1]
    assert media_digest(ImagePart(turned)) == media_digest(ImagePart(turned.copy()))


def test_the_longest_unused_embeddings_leave_first():
    cache = EmbeddingCache(limit_bytes=2 * 4 * 8)
    for name in (b"a", b"b"):
        cache.put(name, torch.zeros(4, 2))
    assert cache.get(b"a") is not None
    cache.put(b"c", torch.zeros(4, 2))
    assert cache.get(b"b") is None
    assert cache.get(b"a") is not None
    assert (len(cache), cache.held_bytes) == (2, 64)


def test_an_embedding_beyond_the_limit_is_not_kept():
    cache = EmbeddingCache(limit_bytes=8)
    cache.put(b"a", torch.zeros(3))
    assert (cache.get(b"a"), cache.held_bytes) == (None, 0)


def test_a_view_does_not_keep_its_whole_tensor_alive():
    cache = EmbeddingCache(limit_bytes=1000)
    cache.put(b"a", torch.zeros(100, 2)[:3])
    kept = cache.get(b"a")
    assert kept.untyped_storage().nbytes() == kept.nbytes == cache.held_bytes == 24


def test_common_prefix_counts_equal_rows():
    image = media_names(bytes(range(16)), 3)
    other = media_names(bytes(range(1, 17)), 3)
    first = np.concatenate([rows([1, 2]), image, rows([3])])
    assert common_prefix(first, np.concatenate([rows([1, 2]), image, rows([4])])) == 5
    assert common_prefix(first, np.concatenate([rows([1, 2]), other])) == 2
    assert common_prefix(first, first[:4]) == 4
    assert common_prefix(first, rows([])) == 0


def test_a_prompt_takes_over_the_slot_it_continues():
    _, table = make_table(2)
    first = use(table, rows(range(10)))
    again = use(table, rows([*range(10), 99, 98]))
    assert (again.slot, again.reused) == (first.slot, 10)


def test_the_last_row_is_always_computed():
    _, table = make_table(1)
    use(table, rows(range(10)))
    assert use(table, rows(range(10))).reused == 9


def test_a_short_prefix_is_copied_so_that_the_long_sequence_survives():
    cache, table = make_table(2)
    long = use(table, rows(range(10)))
    cache.layers[0].keys[long.slot, :, :3] = 7.0
    short = use(table, rows([0, 1, 2, 50, 51]))
    assert (short.slot != long.slot, short.reused) == (True, 3)
    assert (cache.layers[0].keys[short.slot, :, :3] == 7.0).all()
    assert use(table, rows([*range(10), 11])).reused == 10


def test_rows_of_an_answer_under_way_are_copied():
    _, table = make_table(2)
    first = table.take(rows(range(10)))
    table.computed(first.slot, rows(range(6)))
    second = table.take(rows(range(10)))
    assert (second.slot != first.slot, second.reused) == (True, 6)
    assert table.free == 0


def test_the_longest_unused_slot_is_given_up():
    _, table = make_table(3)
    slots = [use(table, rows([100 * k, 1, 2])).slot for k in range(1, 4)]
    assert sorted(slots) == [0, 1, 2]
    use(table, rows([100, 1, 2, 3]))
    assert use(table, rows([900])).slot == slots[1]


def test_what_was_not_computed_is_not_shared():
    _, table = make_table(1)
    place = table.take(rows(range(10)))
    table.computed(place.slot, rows(range(4)))
    table.release(place.slot)
    assert table.take(rows(range(10))).reused == 4
