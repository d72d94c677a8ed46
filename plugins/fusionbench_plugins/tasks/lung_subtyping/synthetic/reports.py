"""Writes reports in Chinese of 996 to 1,748 characters, as OmniFuse's are long.

What they say of the nodule follows what they show. Every sentence was made up for this program. Findings stand among sentences
about everything else, in an order of their own.
"""

# ruff: noqa: RUF001 - Chinese punctuation

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

SHORTEST, LONGEST = 996, 1748

_DENSITY: Final = (
    "淡薄磨玻璃密度",
    "磨玻璃密度",
    "以磨玻璃为主的混合密度",
    "混合密度",
    "以实性为主的混合密度",
    "实性密度",
)
_MARGIN: Final = ("边界模糊", "边界尚清", "边缘光整", "边缘浅分叶", "边缘分叶并见短毛刺", "边缘深分叶并见长毛刺")
_PLEURA: Final = (
    "与胸膜无接触",
    "邻近胸膜无改变",
    "邻近胸膜轻度牵拉",
    "邻近胸膜牵拉凹陷",
    "胸膜凹陷征明显",
    "胸膜增厚并受牵拉",
)
_UPTAKE: Final = (
    "未见放射性摄取",
    "摄取与本底相近",
    "摄取轻度增高",
    "摄取增高",
    "摄取明显增高",
    "摄取显著增高并不均匀",
)
_ADVICE: Final = (
    "建议年度复查",
    "建议半年后复查",
    "建议三个月后复查",
    "建议短期复查",
    "建议多学科会诊",
    "建议尽早进一步处理",
)
_LOBES: Final = ("右肺上叶", "右肺中叶", "右肺下叶", "左肺上叶", "左肺下叶")
_OTHER: Final = (
    "双侧胸廓对称，骨质结构未见明显异常",
    "气管及主要支气管通畅，管壁未见增厚",
    "纵隔居中，心影大小在正常范围内",
    "主动脉壁可见少许钙化斑",
    "双侧胸腔未见积液",
    "双侧腋窝未见肿大淋巴结",
    "扫描所及肝脏形态规则，密度均匀",
    "胆囊不大，壁不厚，腔内未见异常密度影",
    "脾脏大小正常，密度均匀",
    "双侧肾上腺形态自然",
    "甲状腺两叶密度稍欠均匀，请结合超声",
    "食管壁未见局限性增厚",
    "两肺纹理走行自然，透亮度正常",
    "两下肺背侧见少许坠积性改变",
    "另见数枚微小钙化灶，考虑陈旧性病变",
    "胸椎部分椎体边缘骨质增生",
    "图像质量满足诊断要求，呼吸伪影轻微",
    "检查前空腹六小时，血糖在允许范围内",
    "静脉注射显像剂后静卧六十分钟行全身采集",
    "脑部皮质放射性分布大致对称",
    "鼻咽部未见异常摄取",
    "胃壁生理性摄取，未见局灶性增高",
    "结肠走行区见条状生理性摄取",
    "前列腺或子宫附件区未见明确异常摄取",
    "所见骨髓摄取均匀",
    "与既往检查相比，其余部位未见明显变化",
    "右侧叶间胸膜局部稍增厚",
    "左侧肺尖见条索影，边界清楚",
    "双侧乳腺区未见异常密度影",
    "膈肌光整，肋膈角锐利",
)


def report_of(shown: float, rng: np.random.Generator) -> str:
    """Return a report on one line; ``shown`` is about standard normal, larger is more invasive."""
    findings = _findings(shown, rng)
    others = [_OTHER[i] for i in rng.permutation(len(_OTHER))]
    wanted = int(rng.integers(SHORTEST + 60, LONGEST - 60))
    place = int(rng.integers(2, 8))
    sentences = ["检查所见：" + others[0], *others[1:place], *findings, *others[place:]]
    while len(text := _joined(sentences)) < wanted:
        sentences.append(f"复核{_OTHER[int(rng.integers(len(_OTHER)))]}")
    while len(text) > LONGEST:
        sentences.pop()
        text = _joined(sentences)
    return text


def _joined(sentences: Sequence[str]) -> str:
    return "。".join(sentences) + "。"


def _findings(shown: float, rng: np.random.Generator) -> list[str]:
    def said(words: Sequence[str]) -> str:
        # each finding has a reader's own uncertainty
        place = (shown + 0.45 * rng.standard_normal()) * 1.6 + 2.5
        return words[int(np.clip(round(place), 0, len(words) - 1))]

    size = float(np.clip(11 + 4.5 * shown + rng.normal(0, 1.5), 3, 38))
    lobe = _LOBES[int(rng.integers(len(_LOBES)))]
    return [
        f"{lobe}见结节影，大小约{round(size)}毫米，呈{said(_DENSITY)}，{said(_MARGIN)}，{said(_PLEURA)}",
        f"该结节{said(_UPTAKE)}",
        f"意见：{lobe}结节，{said(_ADVICE)}",
    ]
