"""Find the spellings of names in other scripts: words of translations that sound alike.

Names often decide which passage answers a question, and no dictionary has them. A capitalised
English word and a word of its translation with the same consonants count as one name. Russian and
Ukrainian names that match no English word are transliterated into Latin letters by rule.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator
from difflib import SequenceMatcher
from functools import lru_cache
from pathlib import Path

from anyascii import anyascii
from reading import PARALLEL, rows

NAME = re.compile(r"\b[A-Z][a-z]{2,}\b")
CYRILLIC_NAME = re.compile(r"(?<=[а-яё,] )[\u0400-\u042f][\u0430-\u045f]{3,}")
WORDS = {
    "ru": re.compile(r"[\u0400-\u04ff]{3,}"),
    "uk": re.compile(r"[\u0400-\u04ff]{3,}"),
    "ar": re.compile(r"[\u0620-\u06ff]{3,}"),
    "fa": re.compile(r"[\u0620-\u06ff]{3,}"),
    "hi": re.compile(r"[\u0900-\u0963]{2,}"),
    "ko": re.compile(r"[\uac00-\ud7a3]{2,}"),
    "ja": re.compile(r"[\u30a1-\u30fa\u30fc]{3,}"),
    "th": re.compile(r"[\u0e00-\u0e7f]{3,}"),
    "zh": re.compile(r"(?=([\u4e00-\u9fff]{2,6}))"),
}
SPELLING = set(  # the characters that spell foreign names in Chinese
    "阿埃艾安昂奥巴班邦保鲍贝本比彼宾波伯博布查茨达戴丹当道德登邓迪蒂丁东杜敦顿多厄恩尔法凡范方菲费芬丰佛弗夫福"
    "戈盖甘冈高格葛根古瓜圭哈海汉豪赫亨侯胡华怀霍基吉季加贾简杰金京久居喀卡凯坎康考柯科克肯孔库夸拉莱赖兰朗劳勒"
    "雷里理利莉林列龙隆卢鲁路伦罗洛吕马玛麦迈曼芒毛梅门蒙米密敏明莫姆默穆拿纳娜奈南内尼妮宁纽诺努欧帕派潘庞佩彭"
    "皮平珀普奇齐乔切琴琼丘让热日茹瑞若撒萨塞赛桑瑟森沙莎山尚圣史士舒斯思松苏孙所索塔泰坦汤唐陶特腾提廷通图托瓦"
    "万旺威韦维魏文沃乌武西希锡夏香肖谢辛欣休逊雅亚延扬耶叶伊以因英尤于约扎詹泽曾朱兹宗祖佐"
)
LATIN = ("es", "de", "fr", "it", "pt", "tr", "vi", "id", "pl")
SOUNDS = [
    *(("sh", "s"), ("ch", "k"), ("ph", "f"), ("th", "t"), ("kh", "k"), ("ck", "k"), ("ts", "s")),
    *(("ng", "n"), ("x", "ks"), ("c", "k"), ("q", "k"), ("z", "s"), ("j", "g"), ("v", "b")),
    *(("p", "b"), ("l", "r"), ("d", "t")),
]
LEAST = 3  # the fewest consonants of a name
ALIKE = 0.5  # the least share of letters in common
ENDINGS = 2  # the most letters that a word may add for cases and particles


@lru_cache(500_000)
def consonants(word: str) -> str:
    """Return the sound of a word: its consonants, without fine distinctions."""
    sound = re.sub("[^a-z]", "", anyascii(word).lower())
    for old, new in SOUNDS:
        sound = sound.replace(old, new)
    return re.sub(r"(.)\1+", r"\1", re.sub("[aeiouyhw]", "", sound))


@lru_cache(500_000)
def alike(word: str, name: str) -> bool:
    """Return whether two words with the same consonants also share enough other letters."""
    return SequenceMatcher(None, anyascii(word).lower(), name.lower()).ratio() >= ALIKE


def candidates(lang: str, text: str) -> Iterator[tuple[str, str]]:
    """Yield the words of a text, each with its sound.

    Chinese does not separate words: every run of two to six characters of SPELLING counts as one.
    """
    for found in WORDS[lang].finditer(text):
        if lang == "zh":
            run = found.group(1)
            for size in range(2, len(run) + 1):
                if SPELLING.issuperset(run[:size]):
                    yield run[:size], consonants(run[:size])
            continue
        word, sound = found.group(), consonants(found.group())
        for ending in range(ENDINGS + 1 if lang != "ja" else 1):
            yield word, sound[: len(sound) - ending]
        if lang == "ar" and word.startswith("ال"):
            yield word, consonants(word[2:])


def collect(data: Path) -> tuple[dict[str, dict[str, Counter[str]]], dict[str, Counter[str]]]:
    """Return English name -> language -> spellings, and the Cyrillic names in ru and uk."""
    names: dict[str, dict[str, Counter[str]]] = {}
    cyrillic: dict[str, Counter[str]] = {"ru": Counter(), "uk": Counter()}
    for file in PARALLEL:
        for row in rows(data / file):
            for lang, seen in cyrillic.items():
                seen.update(CYRILLIC_NAME.findall(row["t"].get(lang, "")))
            capitalised = set(NAME.findall(row["t"].get("en", "")))
            sounds = {consonants(name): name for name in capitalised}
            sounds = {sound: name for sound, name in sounds.items() if len(sound) >= LEAST}
            if not sounds or len(capitalised) > 20:
                continue
            for lang in row["t"].keys() & WORDS.keys():
                for word, sound in set(candidates(lang, row["t"][lang])):
                    if sound in sounds and alike(word, sounds[sound]):
                        names.setdefault(sounds[sound], {}).setdefault(lang, Counter())[word] += 1
            for lang in row["t"].keys() & set(LATIN):
                for name in set(NAME.findall(row["t"][lang])) & set(sounds.values()):
                    names.setdefault(name, {}).setdefault(lang, Counter())[name] += 1
    return names, cyrillic


def concepts(data: Path) -> Iterator[dict[str, list[str]]]:
    """Yield one concept per name: language -> spellings, the most frequent first."""
    names, cyrillic = collect(data)
    known: set[str] = set()
    for name, spellings in names.items():
        if not spellings.keys() & WORDS.keys():
            continue
        concept = {"en": [name]}
        for lang, seen in spellings.items():
            usual = seen.most_common(1)[0][1]
            concept[lang] = [w for w, count in seen.most_common(6) if 5 * count >= usual]
            known.update(concept[lang])
        yield concept
    for lang, seen in cyrillic.items():
        for word in seen.keys() - known:
            yield {lang: [word], "en": [anyascii(word).capitalize()]}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="the folder that holds train/ and train_bysa/")
    parser.add_argument("output", type=Path, help="the .jsonl file to write")
    args = parser.parse_args()
    with args.output.open("w", encoding="utf-8") as file:
        for concept in concepts(args.data):
            file.write(json.dumps({"s": "names", "w": concept}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
