"""The little world that stories and sums are about: who lives there, what there is, and where.

Everything has an English and a Chinese name. Tables only: it knows no plot and no arithmetic.
Names and words stand once here, so that what one kind of text teaches serves the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Language = Literal["en", "zh"]


@dataclass(frozen=True)
class Character:
    """Somebody with a name; animals go by their kind in Chinese, children by their name."""

    name: str
    kind: str
    gender: Literal["he", "she"]
    zh: str
    zh_intro: str
    """How Chinese introduces the character, with its measure word."""
    zh_pronoun: str

    @property
    def intro(self) -> str:
        return f"a little {self.kind} named {self.name}"

    @property
    def known_as(self) -> str:
        """The name as a first mention needs it: `Dilly the duck`, but plain `Tom`."""
        return self.name if self.kind in {"boy", "girl"} else f"{self.name} the {self.kind}"

    @property
    def him(self) -> str:
        return "him" if self.gender == "he" else "her"

    @property
    def his(self) -> str:
        return "his" if self.gender == "he" else "her"


@dataclass(frozen=True)
class Thing:
    """Something that can be had, lost, given and counted."""

    one: str
    many: str
    zh: str
    measure: str
    """The Chinese measure word, such as 个."""

    def counted(self, number: int) -> str:
        return f"{number} {self.one if number == 1 else self.many}"

    def zh_counted(self, number: str) -> str:
        return f"{number}{self.measure}{self.zh}"


@dataclass(frozen=True)
class Place:
    noun: str
    """As a goal: `to the river`."""
    where: str
    """As a whereabouts: `by the river`."""
    zh: str
    """Both at once, as Chinese has it: 河边."""


@dataclass(frozen=True)
class Phrase:
    """Anything else that is said the same way in both languages."""

    en: str
    zh: str


def _animal(name: str, kind: str, gender: Literal["he", "she"], zh: str) -> Character:
    return Character(name, kind, gender, zh, f"一只{zh}", "它")


def _child(name: str, gender: Literal["he", "she"], zh: str) -> Character:
    kind, zh_kind = ("boy", "男孩") if gender == "he" else ("girl", "女孩")
    pronoun = "他" if gender == "he" else "她"
    return Character(name, kind, gender, zh, f"一个叫{zh}的小{zh_kind}", pronoun)


ANIMALS = (
    _animal("Pip", "rabbit", "she", "小兔子"),
    _animal("Rusty", "fox", "he", "小狐狸"),
    _animal("Bruno", "bear", "he", "小熊"),
    _animal("Dilly", "duck", "she", "小鸭子"),
    _animal("Momo", "mouse", "he", "小老鼠"),
    _animal("Mimi", "cat", "she", "小猫"),
    _animal("Bo", "dog", "he", "小狗"),
    _animal("Theo", "turtle", "he", "小乌龟"),
    _animal("Chip", "squirrel", "he", "小松鼠"),
    _animal("Olga", "owl", "she", "猫头鹰"),
    _animal("Hugo", "hedgehog", "he", "小刺猬"),
    _animal("Fern", "frog", "she", "小青蛙"),
    _animal("Penny", "pig", "she", "小猪"),
    _animal("Gus", "goat", "he", "小山羊"),
    _animal("Dora", "deer", "she", "小鹿"),
    _animal("Kiki", "monkey", "she", "小猴子"),
)
CHILDREN = (
    _child("Tom", "he", "小明"),
    _child("Lily", "she", "小红"),
    _child("Ben", "he", "小刚"),
    _child("Anna", "she", "小丽"),
    _child("Sam", "he", "小华"),
    _child("Mia", "she", "小美"),
)
CHARACTERS = ANIMALS + CHILDREN

ELDERS = (
    Phrase("Grandma Rose", "奶奶"),
    Phrase("Grandpa Lin", "爷爷"),
    Phrase("the old miller", "磨坊老伯"),
    Phrase("the baker", "面包师傅"),
    Phrase("the old fisherman", "老渔夫"),
    Phrase("the teacher", "老师"),
)

FRUITS = (
    Thing("apple", "apples", "苹果", "个"),
    Thing("pear", "pears", "梨", "个"),
    Thing("peach", "peaches", "桃子", "个"),
    Thing("orange", "oranges", "橘子", "个"),
)
FOODS = (
    *FRUITS,
    Thing("carrot", "carrots", "胡萝卜", "根"),
    Thing("berry", "berries", "浆果", "颗"),
    Thing("nut", "nuts", "坚果", "颗"),
    Thing("mushroom", "mushrooms", "蘑菇", "朵"),
    Thing("cake", "cakes", "蛋糕", "块"),
    Thing("bun", "buns", "包子", "个"),
    Thing("egg", "eggs", "鸡蛋", "个"),
    Thing("cookie", "cookies", "饼干", "块"),
)
TREASURES = (
    Thing("ball", "balls", "皮球", "个"),
    Thing("kite", "kites", "风筝", "只"),
    Thing("drum", "drums", "小鼓", "面"),
    Thing("boat", "boats", "小船", "只"),
    Thing("lantern", "lanterns", "灯笼", "盏"),
    Thing("book", "books", "书", "本"),
    Thing("bell", "bells", "铃铛", "个"),
    Thing("hat", "hats", "帽子", "顶"),
    Thing("scarf", "scarves", "围巾", "条"),
    Thing("key", "keys", "钥匙", "把"),
    Thing("umbrella", "umbrellas", "雨伞", "把"),
    Thing("basket", "baskets", "篮子", "个"),
    Thing("flute", "flutes", "笛子", "支"),
    Thing("button", "buttons", "纽扣", "颗"),
)
FINDS = (
    Thing("shell", "shells", "贝壳", "个"),
    Thing("stone", "stones", "石头", "块"),
    Thing("feather", "feathers", "羽毛", "根"),
    Thing("flower", "flowers", "花", "朵"),
    Thing("pearl", "pearls", "珍珠", "颗"),
    Thing("coin", "coins", "硬币", "枚"),
)
COUNTABLES = FOODS + TREASURES + FINDS

COLOURS = (
    Phrase("red", "红色的"),
    Phrase("blue", "蓝色的"),
    Phrase("green", "绿色的"),
    Phrase("yellow", "黄色的"),
    Phrase("white", "白色的"),
    Phrase("old", "旧旧的"),
    Phrase("shiny", "亮晶晶的"),
    Phrase("tiny", "小小的"),
)

PLACES = (
    Place("the river", "by the river", "河边"),
    Place("the forest", "in the forest", "森林里"),
    Place("the hill", "on the hill", "山坡上"),
    Place("the old bridge", "near the old bridge", "老桥边"),
    Place("the mill", "behind the mill", "磨坊后面"),
    Place("the market", "at the market", "集市上"),
    Place("the garden", "in the garden", "花园里"),
    Place("the well", "beside the well", "水井旁"),
    Place("the lake", "by the lake", "湖边"),
    Place("the farm", "on the farm", "农场里"),
    Place("the meadow", "in the meadow", "草地上"),
    Place("the village", "in the village", "村子里"),
    Place("the big oak", "under the big oak", "大橡树下"),
    Place("the school", "at the school", "学校里"),
)

TIMES = (
    Phrase("One morning", "一天早上"),
    Phrase("One evening", "一天傍晚"),
    Phrase("One sunny day", "一个晴朗的日子"),
    Phrase("One rainy day", "一个下雨天"),
    Phrase("On a cold winter day", "冬天里寒冷的一天"),
    Phrase("In the spring", "春天来了"),
    Phrase("One summer night", "一个夏天的夜晚"),
    Phrase("One windy afternoon", "一个刮风的下午"),
)

SCENES = (
    Phrase("The sky was blue, and the grass was green.", "天空很蓝，草很绿。"),
    Phrase("Birds sang in the trees all day long.", "小鸟整天在树上唱歌。"),
    Phrase("A soft wind blew over the fields.", "微风轻轻吹过田野。"),
    Phrase("White clouds sailed over the hills.", "白云飘过山顶。"),
    Phrase("It was a quiet place where everybody knew everybody.", "那里很安静，大家都互相认识。"),
    Phrase("There was always something new to learn.", "每天都能学到新东西。"),
    Phrase("In the house there was a clock that was always late.", "家里有一个总是走得很慢的钟。"),
    Phrase("Fish jumped in the clear water.", "鱼儿在清清的水里跳。"),
    Phrase("At night you could see a thousand stars.", "夜里能看见一千颗星星。"),
    Phrase("Snow lay on the roofs, white as milk.", "屋顶上的雪像牛奶一样白。"),
    Phrase("The days were long and full of games.", "日子又长又好玩。"),
    Phrase("Bees flew from flower to flower.", "蜜蜂从一朵花飞到另一朵花。"),
)

WISHES = (
    Phrase("to see the sea", "看大海"),
    Phrase("to learn to swim", "学游泳"),
    Phrase("to climb the highest hill", "爬上最高的山"),
    Phrase("to count all the stars", "数清天上的星星"),
    Phrase("to sing like a bird", "像小鸟一样唱歌"),
    Phrase("to read a whole book", "读完一本书"),
    Phrase("to bake a cake", "烤一个蛋糕"),
    Phrase("to sail a boat", "划一只小船"),
    Phrase("to dance in the snow", "在雪地里跳舞"),
    Phrase("to plant a tree", "种一棵树"),
)

_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen"),
)
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_DIGITS = "零一二三四五六七八九"


def number_word(number: int) -> str:
    """`number` (0 to 99) in English words."""
    if number < 20:
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")


def zh_number(number: int) -> str:
    """`number` (0 to 99) in Chinese numerals."""
    tens, ones = divmod(number, 10)
    if not tens:
        return _DIGITS[ones]
    return (_DIGITS[tens] if tens > 1 else "") + "十" + (_DIGITS[ones] if ones else "")


def zh_count(number: int) -> str:
    """`number` (0 to 99) before a measure word, where two is 两."""
    return "两" if number == 2 else zh_number(number)


def a(words: str) -> str:
    """`words` with the English indefinite article that its first letter wants."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


if __name__ == "__main__":
    print(CHARACTERS[0].intro, "/", CHARACTERS[0].zh_intro, "/", FOODS[0].counted(2))
    assert [number_word(n) for n in (7, 20, 42)] == ["seven", "twenty", "forty-two"]
    assert [zh_number(n) for n in (7, 10, 12, 20, 42)] == ["七", "十", "十二", "二十", "四十二"]
    print("=== 自测通过 ===")
