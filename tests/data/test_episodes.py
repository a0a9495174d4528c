from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data.episodes import Episode, Episodes, stack

NUMBERS = np.random.default_rng(0)
SHOWN = NUMBERS.random((80, 6)) < 0.35
SHOWN[np.arange(80), np.arange(80) % 6] = True  # every class has a dozen images and more
HISTOGRAMS = SHOWN * NUMBERS.integers(1, 50, SHOWN.shape)


def stream(ways: int = 2, shots: int = 3, name: str = "a", classes: tuple[int, ...] = (1, 2, 4, 5)) -> Episodes:
    return Episodes(HISTOGRAMS, np.arange(5, 80), classes, ways, shots, (name, 7))


def same(left: Episode, right: Episode) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 10**6), st.sampled_from("abc"))
def test_an_episode_is_what_it_says(ways: int, shots: int, number: int, name: str) -> None:
    episodes = stream(ways, shots, name)
    episode = episodes[number]
    assert same(episode, stream(ways, shots, name)[number])  # by its number alone, whatever was drawn before
    assert episode.query in episodes.pool
    assert HISTOGRAMS[episode.query, episode.query_class] > 0
    assert len(set(episode.classes.tolist())) == ways
    assert set(episode.classes.tolist()) <= {1, 2, 4, 5}
    np.testing.assert_array_equal(episode.present, HISTOGRAMS[episode.query, episode.classes] > 0)
    assert episode.support.shape == (ways, shots)
    for label, support in zip(episode.classes, episode.support, strict=True):
        assert len(set(support.tolist())) == shots
        assert episode.query not in support
        assert (HISTOGRAMS[support, label] > 0).all()
        assert set(support.tolist()) <= set(episodes.pool.tolist())


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(5, 8))
def test_fewer_shots_are_the_beginning_of_more(number: int, few: int, many: int) -> None:
    short, long = stream(3, few)[number], stream(3, many)[number]
    np.testing.assert_array_equal(short.support, long.support[:, :few])
    np.testing.assert_array_equal(short.classes, long.classes)


def test_a_query_shows_none_some_or_all_of_the_ways() -> None:
    episodes = stream(ways=2)
    assert {int(episodes[number].present.sum()) for number in range(200)} == {0, 1, 2}


def test_the_class_of_the_query_is_a_way_in_half_of_the_episodes_and_the_others_share_the_rest() -> None:
    episodes, count = stream(ways=1), 3000
    asked = [episodes[number] for number in range(count)]
    own = np.array([episode.classes[0] == episode.query_class for episode in asked])
    assert abs(own.mean() - 0.5) < 4 * 0.5 / count**0.5
    first = [episode for episode in asked if episode.query_class == 1 and episode.classes[0] != 1]
    shares = np.array([sum(episode.classes[0] == label for episode in first) for label in (2, 4, 5)]) / len(first)
    np.testing.assert_allclose(shares, 1 / 3, atol=4 * (2 / 9 / len(first)) ** 0.5)


def test_every_pair_of_image_and_class_is_asked_about_in_turn() -> None:
    episodes = stream()
    count = int((HISTOGRAMS[5:, [1, 2, 4, 5]] > 0).sum())
    pairs = [(episodes[number].query, episodes[number].query_class) for number in range(2 * count)]
    assert pairs[:count] == pairs[count:]
    assert len(set(pairs)) == count
    assert pairs != [(stream(name="b")[number].query, stream(name="b")[number].query_class) for number in range(count)]


def test_stacked_episodes_have_a_first_axis() -> None:
    episodes = stream(ways=2, shots=3)
    together = stack([episodes[number] for number in (4, 9)])
    assert together.support.shape == (2, 2, 3)
    np.testing.assert_array_equal(together.support[1], episodes[9].support)
    np.testing.assert_array_equal(together.query, [episodes[4].query, episodes[9].query])


def test_one_class_alone_is_always_asked_for() -> None:
    assert stream(ways=1, classes=(2,))[3].classes.tolist() == [2]


def test_more_than_there_is_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="5 ways of 4 classes"):
        stream(ways=5)
    with pytest.raises(ValueError, match="75 shots of class 1"):
        stream(shots=75)
