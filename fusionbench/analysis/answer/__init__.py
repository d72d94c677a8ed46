"""The answer of a run in a question and three sentences, made from its tables and never saying more than the rule allows."""

from fusionbench.analysis.answer.sentences import answer_of
from fusionbench.analysis.answer.situation import Situation, situation_of

__all__ = ["Situation", "answer_of", "situation_of"]
