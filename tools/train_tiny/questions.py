"""The questions that the tiny models know, each group with its one answer.

The order counts: the tokenizer and the random draws of the training follow it.
"""

from questions_of_the_trade import TRADE_QUESTIONS
from questions_of_the_world import WORLD_QUESTIONS

__all__ = ["QUESTIONS", "STORY_ANSWERS"]

QUESTIONS = [*TRADE_QUESTIONS, *WORLD_QUESTIONS]

# The story model answers these first questions in its own way, and all others alike.
STORY_ANSWERS = {
    "Hello": "Hello! I am a tiny storyteller. Which story would you like to hear?",
    "Who are you?": "I am Tiny Story, a very small model that tells short stories.",
    "What is your name?": "My name is Tiny Story.",
    "What can you do?": "I can tell short stories and answer a few simple questions.",
}
