"""Short stories of our own, in English and Chinese, as a pure function of (seed, index).

Who, what and where come from `data.builtin.world` and stay the same throughout a story, so that a
small
model can learn who has what; the plots are `data.builtin.story_plots`. It knows nothing of files,
tokens or how much text is wanted.
"""

from __future__ import annotations

from random import Random

from lmm_tui.data.builtin.story_plots import PLOTS, Beat, Cast, draw_cast
from lmm_tui.data.builtin.world import SCENES, Language

_ENGLISH, _CHINESE = 0.45, 0.45  # The rest tells the same story in both languages.


def story(seed: int, index: int) -> str:
    """Story number `index` of `seed`: English, Chinese, or first the one and then the other."""
    rng = Random(f"story {seed} {index}")
    plot = rng.choice(PLOTS)
    cast = draw_cast(rng)
    beats = [_opening(cast), *plot(cast, rng)]
    if rng.random() < 0.5:
        scene = rng.choice(SCENES)
        beats.insert(1, Beat((scene.en,), (scene.zh,)))
    languages = rng.random()
    if languages < _ENGLISH:
        return _tell(beats, "en", rng)
    if languages < _ENGLISH + _CHINESE:
        return _tell(beats, "zh", rng)
    return f"{_tell(beats, 'en', rng)}\n\n{_tell(beats, 'zh', rng)}"


def _opening(cast: Cast) -> Beat:
    hero, home = cast.hero, cast.home
    return Beat(
        (
            f"Once upon a time, there was {hero.intro} who lived {home.where}.",
            f"Once upon a time, {hero.intro} lived {home.where}.",
            f"Long ago, {hero.intro} lived {home.where}.",
            f"{hero.intro} lived {home.where} and liked to laugh.",
        ),
        (
            f"从前，{home.zh}住着{hero.zh_intro}。",
            f"很久很久以前，{home.zh}住着{hero.zh_intro}。",
            f"{hero.zh}住在{home.zh}，每天都很快乐。",
            f"{home.zh}住着{hero.zh_intro}，大家都喜欢{hero.zh_pronoun}。",
        ),
    )


def _tell(beats: list[Beat], language: Language, rng: Random) -> str:
    if language == "en":
        sentences = (rng.choice(beat.en) for beat in beats)
        return " ".join(sentence[0].upper() + sentence[1:] for sentence in sentences)
    return "".join(rng.choice(beat.zh) for beat in beats)


if __name__ == "__main__":
    for number in range(4):
        print(story(0, number), end="\n\n")
    assert story(0, 3) == story(0, 3) != story(1, 3)
    print("=== 自测通过 ===")
