"""The plots of our stories: each a list of beats that say who does what, in English and Chinese.

A beat is a handful of ways to say the same thing, so a plot is told in many words while its
facts stay fixed. It knows neither how beats become text nor how a story is drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from lmm_tui.data.builtin.world import (
    CHARACTERS,
    COLOURS,
    ELDERS,
    FINDS,
    FOODS,
    FRUITS,
    PLACES,
    TIMES,
    TREASURES,
    WISHES,
    Character,
    Phrase,
    Place,
    a,
    number_word,
    zh_count,
)


class Beat(NamedTuple):
    """One step of a plot: the sentences to choose from, for each language."""

    en: tuple[str, ...]
    zh: tuple[str, ...]


class Cast(NamedTuple):
    """What every plot draws from: two friends, an elder, three places, a time, a look."""

    hero: Character
    friend: Character
    elder: Phrase
    home: Place
    here: Place
    there: Place
    time: Phrase
    colour: Phrase


Plot = Callable[[Cast, Random], list[Beat]]


def draw_cast(rng: Random) -> Cast:
    hero, friend = rng.sample(CHARACTERS, 2)
    home, here, there = rng.sample(PLACES, 3)
    elder, time, colour = rng.choice(ELDERS), rng.choice(TIMES), rng.choice(COLOURS)
    return Cast(hero, friend, elder, home, here, there, time, colour)


def _thanks(giver: Character, taker: Character) -> Beat:
    return Beat(
        (
            f'"Thank you, {giver.name}!" said {taker.name}.',
            f'{taker.name} smiled. "Thank you, {giver.name}. You are a good friend."',
            f"{taker.name} was so happy that {taker.gender} gave {giver.name} a big hug.",
        ),
        (
            f"“谢谢你，{giver.zh}！”{taker.zh}说。",
            f"{taker.zh}笑了：“谢谢你，{giver.zh}，你真是我的好朋友。”",
            f"{taker.zh}高兴极了，紧紧地抱住了{giver.zh}。",
        ),
    )


def _closing(hero: Character, friend: Character) -> Beat:
    return Beat(
        (
            f"From that day on, {hero.name} and {friend.name} were the best of friends.",
            "They walked home together under the bright moon.",
            f"{hero.name} slept well that night.",
            "And they all lived happily ever after.",
        ),
        (
            f"从那天起，{hero.zh}和{friend.zh}成了最好的朋友。",
            "月亮出来了，他们一起走回了家。",
            f"那天晚上，{hero.zh}睡得很香。",
            "从此，他们过着快乐的生活。",
        ),
    )


def _lost_and_found(cast: Cast, rng: Random) -> list[Beat]:
    hero, friend = cast.hero, cast.friend
    thing = rng.choice(TREASURES)
    en_thing = f"{cast.colour.en} {thing.one}"
    zh_thing = f"{cast.colour.zh}{thing.zh}"
    return [
        Beat(
            (
                f"{hero.name} had {a(en_thing)} and took it everywhere.",
                f"{hero.his} favourite thing was {a(en_thing)}.",
            ),
            (
                f"{hero.zh}有一{thing.measure}{zh_thing}，走到哪里都带着它。",
                f"{hero.zh}最喜欢的东西是一{thing.measure}{zh_thing}。",
            ),
        ),
        Beat(
            (
                f"{cast.time.en}, the {thing.one} was gone.",
                f"{cast.time.en}, {hero.name} could not find the {thing.one}.",
            ),
            (
                f"{cast.time.zh}，{thing.zh}不见了。",
                f"{cast.time.zh}，{hero.zh}怎么也找不到{thing.zh}。",
            ),
        ),
        Beat(
            (
                f"{hero.gender} looked {cast.here.where}, but it was not there.",
                f"{hero.gender} sat down {cast.here.where} and began to cry.",
            ),
            (
                f"{hero.zh_pronoun}在{cast.here.zh}找了又找，还是没有。",
                f"{hero.zh_pronoun}坐在{cast.here.zh}哭了起来。",
            ),
        ),
        Beat(
            (
                f'"Why are you so sad?" asked {friend.name}. "I lost my {thing.one}."',
                f'{friend.known_as} heard about it and said, "Do not worry. I will help you look."',
            ),
            (
                f"“你为什么难过？”{friend.zh}问。“我的{thing.zh}丢了。”",
                f"{friend.zh}知道了，说：“别着急，我来帮你找。”",
            ),
        ),
        Beat(
            (
                f"They went to {cast.there.noun}, and there it was, under some leaves.",
                f"At last {friend.name} found the {thing.one} {cast.there.where}.",
                f"The wind had carried it far away, and they found it {cast.there.where}.",
            ),
            (
                f"他们来到{cast.there.zh}，{thing.zh}就在树叶下面。",
                f"最后，{friend.zh}在{cast.there.zh}找到了{thing.zh}。",
                f"原来风把它吹走了，他们在{cast.there.zh}找到了它。",
            ),
        ),
        _thanks(friend, hero),
        _closing(hero, friend),
    ]


def _sharing(cast: Cast, rng: Random) -> list[Beat]:
    hero, friend = cast.hero, cast.friend
    food = rng.choice(FOODS)
    had = rng.randint(3, 10)
    gave = rng.randint(1, had - 1)
    left = had - gave
    en_left = f"{number_word(left)} {food.one if left == 1 else food.many}"
    en_gave = f"{number_word(gave)} {food.one if gave == 1 else food.many}"
    zh_had, zh_gave, zh_left = (food.zh_counted(zh_count(n)) for n in (had, gave, left))
    return [
        Beat(
            (
                f"{cast.time.en}, {hero.name} found {number_word(had)} {food.many} "
                f"{cast.here.where}.",
                f"{cast.time.en}, {cast.elder.en} gave {hero.name} {number_word(had)} {food.many}.",
            ),
            (
                f"{cast.time.zh}，{hero.zh}在{cast.here.zh}找到了{zh_had}。",
                f"{cast.time.zh}，{cast.elder.zh}给了{hero.zh}{zh_had}。",
            ),
        ),
        Beat(
            (
                f"On the way home {hero.gender} met {friend.known_as}, who was very hungry.",
                f'"I have not eaten all day," said {friend.name}.',
            ),
            (
                f"回家的路上，{hero.zh_pronoun}遇见了{friend.zh}，{friend.zh}的肚子饿极了。",
                f"“我一天没吃东西了。”{friend.zh}说。",
            ),
        ),
        Beat(
            (
                f"{hero.name} gave {friend.him} {en_gave}.",
                f'"Here, take {en_gave}," said {hero.name}.',
            ),
            (
                f"{hero.zh}给了{friend.zh}{zh_gave}。",
                f"“给你{zh_gave}吧。”{hero.zh}说。",
            ),
        ),
        Beat(
            (
                f"Now {hero.name} had {en_left}, and {friend.name} had {en_gave}.",
                f"{hero.name} still had {en_left}.",
            ),
            (
                f"现在{hero.zh}有{zh_left}，{friend.zh}有{zh_gave}。",
                f"{hero.zh}还剩下{zh_left}。",
            ),
        ),
        _thanks(hero, friend),
        Beat(
            (
                "Food tastes better when you share it.",
                f"They sat {cast.there.where} and ate together.",
                f'"It is good to share," thought {hero.name}.',
            ),
            (
                "东西分着吃，味道更好。",
                f"他们坐在{cast.there.zh}，一起吃了起来。",
                f"“分享真快乐。”{hero.zh}想。",
            ),
        ),
    ]


def _journey(cast: Cast, rng: Random) -> list[Beat]:
    hero, friend = cast.hero, cast.friend
    wish = rng.choice(WISHES)
    return [
        Beat(
            (
                f"{hero.name} had one wish: {wish.en}.",
                f"More than anything, {hero.name} wanted {wish.en}.",
            ),
            (
                f"{hero.zh}有一个愿望：{wish.zh}。",
                f"{hero.zh}最想做的事就是{wish.zh}。",
            ),
        ),
        Beat(
            (
                f'"You are too small," said {cast.elder.en}. But {hero.name} did not give up.',
                f'"First you must be brave," said {cast.elder.en}.',
            ),
            (
                f"“你太小了。”{cast.elder.zh}说。可是{hero.zh}没有放弃。",
                f"“你先要学会勇敢。”{cast.elder.zh}说。",
            ),
        ),
        Beat(
            (
                f"{cast.time.en}, {hero.gender} set out and walked to {cast.here.noun}.",
                f"{cast.time.en}, {hero.gender} packed some bread and left home.",
            ),
            (
                f"{cast.time.zh}，{hero.zh_pronoun}出发了，一直走到{cast.here.zh}。",
                f"{cast.time.zh}，{hero.zh_pronoun}带上面包，离开了家。",
            ),
        ),
        Beat(
            (
                f"The road was long, and the night was dark, but {cast.there.where} "
                f"{hero.gender} met {friend.known_as}.",
                f'{cast.there.where}, {friend.name} was waiting. "May I come with you?"',
            ),
            (
                f"路很长，夜很黑。在{cast.there.zh}，{hero.zh_pronoun}遇见了{friend.zh}。",
                f"{friend.zh}在{cast.there.zh}等着：“我可以和你一起去吗？”",
            ),
        ),
        Beat(
            (
                f'"I want {wish.en}," said {hero.name}. "So do I!" said {friend.name}.',
                "They helped each other over every stone and every stream.",
            ),
            (
                f"“我想{wish.zh}。”{hero.zh}说。“我也想！”{friend.zh}说。",
                "他们互相帮助，走过了一条又一条小路。",
            ),
        ),
        Beat(
            (
                f"After three days the wish came true, and {hero.name} laughed for joy.",
                f"They tried once, they tried twice, and at last {hero.name} did it.",
            ),
            (
                f"过了三天，愿望终于实现了，{hero.zh}开心地笑了。",
                f"一次不行就两次，最后{hero.zh}成功了。",
            ),
        ),
        _closing(hero, friend),
    ]


def _helping(cast: Cast, rng: Random) -> list[Beat]:
    hero, friend = cast.hero, cast.friend
    trouble, answer = rng.choice(
        (
            (Phrase("was cold and wet", "又冷又湿"), Phrase("a warm coat", "一件暖和的外衣")),
            (Phrase("was very thirsty", "口渴极了"), Phrase("a cup of water", "一杯水")),
            (Phrase("had a sore foot", "脚受伤了"), Phrase("a soft bandage", "一条绷带")),
            (Phrase("was lost in the dark", "在黑夜里迷了路"), Phrase("a lamp", "一盏灯")),
            (Phrase("was too tired to walk", "累得走不动了"), Phrase("a soft bed", "一张软软的床")),
        )
    )
    return [
        Beat(
            (
                f"{cast.time.en}, {hero.name} was on the way to {cast.here.noun}.",
                f"{cast.time.en}, {hero.gender} went out to play {cast.here.where}.",
            ),
            (
                f"{cast.time.zh}，{hero.zh}正要去{cast.here.zh}。",
                f"{cast.time.zh}，{hero.zh}到{cast.here.zh}去玩。",
            ),
        ),
        Beat(
            (
                f'"Help! Help!" somebody called. It was {friend.known_as}.',
                f"There {hero.gender} saw {friend.known_as} sitting all alone.",
            ),
            (
                f"“救命！救命！”有人在喊。原来是{friend.zh}。",
                f"{hero.zh_pronoun}看见{friend.zh}一个人坐在那里。",
            ),
        ),
        Beat(
            (
                f"{friend.name} {trouble.en}.",
                f"{friend.name} {trouble.en} and did not know what to do.",
            ),
            (
                f"{friend.zh}{trouble.zh}。",
                f"{friend.zh}{trouble.zh}，不知道怎么办才好。",
            ),
        ),
        Beat(
            (
                f'"Wait for me," said {hero.name}, and soon came back with {answer.en}.',
                f"{hero.name} did not think twice and gave {friend.him} {answer.en}.",
            ),
            (
                f"“等等我。”{hero.zh}说。很快，{hero.zh_pronoun}带来了{answer.zh}。",
                f"{hero.zh}想都没想，就给了{friend.zh}{answer.zh}。",
            ),
        ),
        _thanks(hero, friend),
        Beat(
            (
                f"{cast.elder.en} heard of it and said, "
                f'"{hero.name} is small, but {hero.his} heart is big."',
                f"The next day {friend.name} helped {hero.name} in return.",
            ),
            (
                f"{cast.elder.zh}听说了，说：“{hero.zh}虽然小，心却很大。”",
                f"第二天，{friend.zh}也帮了{hero.zh}一个忙。",
            ),
        ),
    ]


def _making(cast: Cast, rng: Random) -> list[Beat]:
    hero, friend = cast.hero, cast.friend
    thing, parts, end = rng.choice(
        (
            (
                Phrase("kite", "风筝"),
                Phrase("paper and string", "纸和线"),
                Phrase("flew above the clouds", "飞到了云上面"),
            ),
            (
                Phrase("boat", "小船"),
                Phrase("wood and rope", "木头和绳子"),
                Phrase("floated on the water", "漂在水面上"),
            ),
            (
                Phrase("lantern", "灯笼"),
                Phrase("red paper and a candle", "红纸和蜡烛"),
                Phrase("lit up the whole street", "照亮了整条街"),
            ),
            (
                Phrase("house of snow", "雪房子"),
                Phrase("snow and ice", "雪和冰"),
                Phrase("stood until the spring", "一直到春天都没有倒"),
            ),
            (
                Phrase("pot of soup", "汤"),
                Phrase("carrots and mushrooms", "胡萝卜和蘑菇"),
                Phrase("smelled wonderful", "闻起来香极了"),
            ),
        )
    )
    return [
        Beat(
            (
                f'{cast.time.en}, {hero.name} said, "Let us make {a(thing.en)}!"',
                f"{cast.time.en}, {hero.name} and {friend.known_as} decided to make {a(thing.en)}.",
            ),
            (
                f"{cast.time.zh}，{hero.zh}说：“我们来做{thing.zh}吧！”",
                f"{cast.time.zh}，{hero.zh}和{friend.zh}决定一起做{thing.zh}。",
            ),
        ),
        Beat(
            (
                f"{hero.name} brought {parts.en}, and {friend.name} brought good ideas.",
                f"They found {parts.en} {cast.here.where}.",
            ),
            (
                f"{hero.zh}带来了{parts.zh}，{friend.zh}想出了好主意。",
                f"他们在{cast.here.zh}找到了{parts.zh}。",
            ),
        ),
        Beat(
            (
                f'The first {thing.en} was no good. "Never mind," said {friend.name}.',
                "At first nothing went right, and they had to start again.",
            ),
            (
                f"第一次没有做好。“没关系。”{friend.zh}说。",
                "开始的时候总是做不好，他们只好重新来过。",
            ),
        ),
        Beat(
            (
                f'"What did we do wrong?" asked {hero.name}. '
                f'"Ask {cast.elder.en}," said {friend.name}.',
                f'"Slowly, step by step," said {cast.elder.en}.',
            ),
            (
                f"“我们哪里做错了？”{hero.zh}问。“去问问{cast.elder.zh}。”{friend.zh}说。",
                f"“慢慢来，一步一步做。”{cast.elder.zh}说。",
            ),
        ),
        Beat(
            (
                f"The second {thing.en} was better. It {end.en}.",
                f"When it was done, the {thing.en} {end.en}.",
            ),
            (
                f"第二次好多了，{thing.zh}{end.zh}。",
                f"做好以后，{thing.zh}{end.zh}。",
            ),
        ),
        _closing(hero, friend),
    ]


def _strange_sound(cast: Cast, rng: Random) -> list[Beat]:
    hero, friend = cast.hero, cast.friend
    sound = rng.choice(
        (
            Phrase("Tap, tap, tap", "咚、咚、咚"),
            Phrase("Whoo, whoo", "呜——呜——"),
            Phrase("Ding, ding", "叮当、叮当"),
            Phrase("Crack, crack", "咔嚓、咔嚓"),
        )
    )
    return [
        Beat(
            (
                f"One night {hero.gender} heard a strange sound. {sound.en}!",
                f"{sound.en}! What was that sound in the night?",
            ),
            (
                f"一天夜里，{hero.zh_pronoun}听见了奇怪的声音：{sound.zh}！",
                f"{sound.zh}！夜里传来的是什么声音呢？",
            ),
        ),
        Beat(
            (
                f"{hero.name} was afraid and hid under the bed.",
                f"{hero.name} could not sleep, and {hero.his} heart beat fast.",
            ),
            (
                f"{hero.zh}害怕极了，躲到了床底下。",
                f"{hero.zh}睡不着，心跳得很快。",
            ),
        ),
        Beat(
            (
                f'"A monster lives {cast.here.where}!" {hero.gender} thought.',
                f"The sound came from {cast.here.noun}.",
            ),
            (
                f"“{cast.here.zh}一定有妖怪！”{hero.zh_pronoun}想。",
                f"声音是从{cast.here.zh}传来的。",
            ),
        ),
        Beat(
            (
                f"Then {hero.name} took a lamp and opened the door, step by step.",
                f'"I will be brave," said {hero.name}, and went out to look.',
            ),
            (
                f"后来，{hero.zh}拿起一盏灯，轻轻地打开了门。",
                f"“我要勇敢。”{hero.zh}说着，走出去看。",
            ),
        ),
        Beat(
            (
                f"It was only {friend.known_as}, who was mending the roof.",
                f"There was no monster. It was {friend.name}, playing a drum.",
                f"It was {friend.name} at the window, who wanted to come in.",
            ),
            (
                f"原来是{friend.zh}在修屋顶。",
                f"没有妖怪，是{friend.zh}在敲鼓。",
                f"原来是{friend.zh}在窗外，想要进来。",
            ),
        ),
        Beat(
            (
                f'"You scared me!" said {hero.name}, and they both laughed.',
                f"{hero.name} laughed and made a pot of hot tea for two.",
            ),
            (
                f"“你吓了我一跳！”{hero.zh}说，两个朋友都笑了。",
                f"{hero.zh}笑了，给两个人煮了一壶热茶。",
            ),
        ),
    ]


def _seed(cast: Cast, rng: Random) -> list[Beat]:
    hero, friend = cast.hero, cast.friend
    fruit = rng.choice(FRUITS)
    count = rng.randint(2, 12)
    return [
        Beat(
            (
                f'{cast.elder.en} gave {hero.name} a seed and said, "Plant it {cast.here.where}."',
                f"{hero.name} found a seed {cast.here.where} and planted it in the ground.",
            ),
            (
                f"{cast.elder.zh}给了{hero.zh}一颗种子，说：“把它种在{cast.here.zh}吧。”",
                f"{hero.zh}在{cast.here.zh}找到一颗种子，把它种进了土里。",
            ),
        ),
        Beat(
            (
                f"Every day {hero.gender} gave it water and waited.",
                "The first day, nothing. The second day, nothing.",
            ),
            (
                f"{hero.zh_pronoun}每天给种子浇水，等啊等。",
                "第一天，没有动静。第二天，还是没有动静。",
            ),
        ),
        Beat(
            (
                f'"It will never grow," said {friend.name}. "Wait and see," said {hero.name}.',
                f'"Be patient," said {friend.name}. "Good things take time."',
            ),
            (
                f"“它不会长出来的。”{friend.zh}说。“等着看吧。”{hero.zh}说。",
                f"“要有耐心。”{friend.zh}说，“好事要慢慢来。”",
            ),
        ),
        Beat(
            (
                "The rain came, the sun came, and a small green leaf came out.",
                "In the spring a green leaf looked out of the ground.",
            ),
            (
                "下过雨，出了太阳，一片小小的绿叶长出来了。",
                "春天，一片绿叶从土里探出头来。",
            ),
        ),
        Beat(
            (
                f"The leaf became a tree, and the tree had {number_word(count)} {fruit.many}.",
                f"After many years there were {number_word(count)} {fruit.many} on the tree.",
            ),
            (
                f"绿叶长成了大树，树上结了{fruit.zh_counted(zh_count(count))}。",
                f"许多年以后，树上有了{fruit.zh_counted(zh_count(count))}。",
            ),
        ),
        Beat(
            (
                f"{hero.name} and {friend.name} sat under the tree and ate the {fruit.many}.",
                f"{hero.name} took the first {fruit.one} to {cast.elder.en}.",
            ),
            (
                f"{hero.zh}和{friend.zh}坐在树下吃{fruit.zh}。",
                f"{hero.zh}把第一{fruit.measure}{fruit.zh}送给了{cast.elder.zh}。",
            ),
        ),
    ]


def _honesty(cast: Cast, rng: Random) -> list[Beat]:
    hero, friend = cast.hero, cast.friend
    thing = rng.choice(TREASURES)
    return [
        Beat(
            (
                f"{cast.time.en}, {hero.name} played with {friend.name}'s {thing.one}.",
                f"{cast.time.en}, {friend.name} left {friend.his} {thing.one} {cast.here.where}, "
                f"and {hero.name} picked it up.",
            ),
            (
                f"{cast.time.zh}，{hero.zh}在玩{friend.zh}的{thing.zh}。",
                f"{cast.time.zh}，{friend.zh}把{thing.zh}忘在{cast.here.zh}，"
                f"{hero.zh}把它捡了起来。",
            ),
        ),
        Beat(
            (
                f"It fell down and broke. {hero.name} was very sorry.",
                f"Oh no! The {thing.one} broke in two.",
            ),
            (
                f"{thing.zh}掉在地上，坏了。{hero.zh}心里很难过。",
                f"哎呀！{thing.zh}断成了两半。",
            ),
        ),
        Beat(
            (
                f'"I could say that it was the wind," {hero.gender} thought. "But that is a lie."',
                f"{hero.name} wanted to run away. Then {hero.gender} thought of "
                f"what {cast.elder.en} had said.",
            ),
            (
                f"“我可以说是风吹坏的。”{hero.zh_pronoun}想，“可那是说谎。”",
                f"{hero.zh}想逃走，可是想起了{cast.elder.zh}说过的话。",
            ),
        ),
        Beat(
            (
                f'"I broke your {thing.one}," said {hero.name}. "I am sorry."',
                f"{hero.name} went to {friend.name} and told the truth.",
            ),
            (
                f"“我把你的{thing.zh}弄坏了。”{hero.zh}说，“对不起。”",
                f"{hero.zh}找到{friend.zh}，说出了真话。",
            ),
        ),
        Beat(
            (
                f'"Thank you for telling me," said {friend.name}. "We can mend it."',
                f"{friend.name} was not angry. Together they mended the {thing.one}.",
            ),
            (
                f"“谢谢你告诉我。”{friend.zh}说，“我们可以把它修好。”",
                f"{friend.zh}没有生气，他们一起把{thing.zh}修好了。",
            ),
        ),
        Beat(
            (
                "A friend who tells the truth is worth more than gold.",
                f"{hero.name} felt light and glad again.",
            ),
            (
                "说真话的朋友，比金子还要珍贵。",
                f"{hero.zh}心里一下子轻松了。",
            ),
        ),
    ]


def _finding(cast: Cast, rng: Random) -> list[Beat]:
    hero, friend = cast.hero, cast.friend
    find = rng.choice(FINDS)
    en_find = f"{cast.colour.en} {find.one}"
    return [
        Beat(
            (
                f"{cast.time.en}, {hero.name} saw something {cast.here.where}: {a(en_find)}.",
                f"{cast.time.en}, {hero.name} found {a(en_find)} {cast.here.where}.",
            ),
            (
                f"{cast.time.zh}，{hero.zh}在{cast.here.zh}看见了一{find.measure}"
                f"{cast.colour.zh}{find.zh}。",
                f"{cast.time.zh}，{hero.zh}在{cast.here.zh}捡到一{find.measure}"
                f"{cast.colour.zh}{find.zh}。",
            ),
        ),
        Beat(
            (
                f'"How beautiful! Whose is it?" {hero.gender} asked.',
                f"{hero.name} had never seen such a {find.one} before.",
            ),
            (
                f"“真漂亮！这是谁的呢？”{hero.zh_pronoun}问。",
                f"{hero.zh}从来没有见过这样的{find.zh}。",
            ),
        ),
        Beat(
            (
                f'"It is not mine," said {cast.elder.en}. "Ask {friend.known_as}."',
                f"{hero.gender} asked everybody {cast.there.where}.",
            ),
            (
                f"“不是我的。”{cast.elder.zh}说，“去问问{friend.zh}吧。”",
                f"{hero.zh_pronoun}问遍了{cast.there.zh}的每一个人。",
            ),
        ),
        Beat(
            (
                f'"It is mine!" said {friend.name}. "I looked for it for two days."',
                f"{friend.name} began to cry for joy, because it was {friend.his} {find.one}.",
            ),
            (
                f"“是我的！”{friend.zh}说，“我找了两天了。”",
                f"{friend.zh}高兴得哭了，因为这正是{friend.zh_pronoun}的{find.zh}。",
            ),
        ),
        _thanks(hero, friend),
        _closing(hero, friend),
    ]


def _race(cast: Cast, rng: Random) -> list[Beat]:
    hero, friend = cast.hero, cast.friend
    prize = rng.choice(FOODS)
    return [
        Beat(
            (
                f'{cast.time.en}, {friend.known_as} said, "I am faster than you!"',
                f"{cast.time.en}, there was a race from {cast.here.noun} to {cast.there.noun}.",
            ),
            (
                f"{cast.time.zh}，{friend.zh}说：“我比你跑得快！”",
                f"{cast.time.zh}，大家举行赛跑，从{cast.here.zh}跑到{cast.there.zh}。",
            ),
        ),
        Beat(
            (
                f'"One, two, three, go!" said {cast.elder.en}.',
                f'"Ready? Go!" called {cast.elder.en}, and they ran.',
            ),
            (
                f"“一、二、三，跑！”{cast.elder.zh}喊道。",
                f"“准备好了吗？跑！”{cast.elder.zh}一喊，他们就跑了起来。",
            ),
        ),
        Beat(
            (
                f"{friend.name} ran fast, but soon {friend.gender} fell over a stone.",
                f"{friend.name} was far ahead, so {friend.gender} lay down and fell asleep.",
            ),
            (
                f"{friend.zh}跑得很快，可是被石头绊倒了。",
                f"{friend.zh}跑在最前面，就躺下来睡着了。",
            ),
        ),
        Beat(
            (
                f"{hero.name} stopped and helped {friend.him} up.",
                f'"Get up, {friend.name}!" said {hero.name}. "Let us go on together."',
            ),
            (
                f"{hero.zh}停下来，把{friend.zh}扶了起来。",
                f"“快起来，{friend.zh}！”{hero.zh}说，“我们一起走吧。”",
            ),
        ),
        Beat(
            (
                "So they came in at the same time, hand in hand.",
                f"They were the last to arrive {cast.there.where}, but everybody cheered.",
            ),
            (
                "就这样，他们手拉着手，一起到了终点。",
                f"他们最后才到{cast.there.zh}，可是大家都为他们鼓掌。",
            ),
        ),
        Beat(
            (
                f"The prize was {a(prize.one)}, and they cut it in two.",
                f"{cast.elder.en} gave each of them {a(prize.one)}.",
            ),
            (
                f"奖品是一{prize.measure}{prize.zh}，他们一人一半。",
                f"{cast.elder.zh}给了他们每人一{prize.measure}{prize.zh}。",
            ),
        ),
    ]


def _trading(cast: Cast, rng: Random) -> list[Beat]:
    hero, friend = cast.hero, cast.friend
    mine, yours = rng.sample(TREASURES, 2)
    return [
        Beat(
            (
                f"{hero.name} had {a(mine.one)}, but {hero.gender} wanted {a(yours.one)}.",
                f"{hero.name} had {a(mine.one)}. {friend.name} had {a(yours.one)}.",
            ),
            (
                f"{hero.zh}有一{mine.measure}{mine.zh}，可是想要一{yours.measure}{yours.zh}。",
                f"{hero.zh}有一{mine.measure}{mine.zh}，{friend.zh}有一{yours.measure}{yours.zh}。",
            ),
        ),
        Beat(
            (
                f"{cast.time.en}, {hero.name} and {friend.name} met {cast.here.where}.",
                f"{cast.time.en}, {hero.name} went to {cast.here.noun} and met {friend.known_as}.",
            ),
            (
                f"{cast.time.zh}，{hero.zh}和{friend.zh}在{cast.here.zh}见面了。",
                f"{cast.time.zh}，{hero.zh_pronoun}来到{cast.here.zh}，遇见了{friend.zh}。",
            ),
        ),
        Beat(
            (
                f'"Will you give me your {yours.one} for my {mine.one}?" asked {hero.name}.',
                f'"I like your {yours.one}," said {hero.name}. "Do you like my {mine.one}?"',
            ),
            (
                f"“我用{mine.zh}换你的{yours.zh}，好吗？”{hero.zh}问。",
                f"“我喜欢你的{yours.zh}。”{hero.zh}说，“你喜欢我的{mine.zh}吗？”",
            ),
        ),
        Beat(
            (
                f'"Yes!" said {friend.name}. So {hero.name} took the {yours.one}, '
                f"and {friend.name} took the {mine.one}.",
                f"{friend.name} thought for a while and said yes. Now {hero.name} had the "
                f"{yours.one}, and {friend.name} had the {mine.one}.",
            ),
            (
                f"“好啊！”{friend.zh}说。于是{hero.zh}拿了{yours.zh}，{friend.zh}拿了{mine.zh}。",
                f"{friend.zh}想了想，答应了。现在{hero.zh}有了{yours.zh}，"
                f"{friend.zh}有了{mine.zh}。",
            ),
        ),
        Beat(
            (
                f"But at night {hero.name} missed the {mine.one}.",
                f"Both were happy, and {cast.elder.en} was happy too.",
            ),
            (
                f"可是到了晚上，{hero.zh}又想念{mine.zh}了。",
                f"两个人都很高兴，{cast.elder.zh}也很高兴。",
            ),
        ),
        Beat(
            (
                '"Let us play with both of them together," they said.',
                f'"Tomorrow we can trade again," said {friend.name}.',
            ),
            (
                "“我们一起玩这两样东西吧。”他们说。",
                f"“明天我们可以再换回来。”{friend.zh}说。",
            ),
        ),
    ]


PLOTS: tuple[Plot, ...] = (
    _lost_and_found,
    _sharing,
    _journey,
    _helping,
    _making,
    _strange_sound,
    _seed,
    _honesty,
    _finding,
    _race,
    _trading,
)


if __name__ == "__main__":
    for plot in PLOTS:
        rng = Random(0)
        beats = plot(draw_cast(rng), rng)
        assert all(beat.en and beat.zh for beat in beats)
        print(plot.__name__, "".join(beat.zh[0] for beat in beats))
    print("=== 自测通过 ===")
