"""What the tiny models learn besides the questions: stories, words, and where knowledge ends.

All of it was written for this project. The order of everything counts: the tokenizer and the
random draws of the training follow it, so a change here makes other models.
"""

from questions import QUESTIONS, STORY_ANSWERS

__all__ = [
    "FALLBACK",
    "STORIES",
    "SYSTEM_LINES",
    "UNKNOWN_BEGINNINGS",
    "UNKNOWN_SUBJECTS",
    "WORDS",
    "answers_of",
    "tokenizer_text",
]

STORIES = [
    (
        "Once upon a time there was a lighthouse on a small island. Every evening the keeper "
        "climbed the stairs and lit the lamp. The ships far out at sea saw the light and knew "
        "the way home. One night the lamp broke, so the keeper made a fire on the roof, and all "
        "the ships came home safely."
    ),
    (
        "The garden behind the old house was full of apple trees. In spring the trees were white "
        "with flowers, and in autumn the children came with baskets. They picked the red apples "
        "first and left the green ones for the birds."
    ),
    (
        "A little robot lived in a big library. It could not read, but it loved the smell of the "
        "books. Each day it carried them from shelf to shelf, until a girl showed it the "
        "letters. Then the robot read every book in the house, and it was never bored again."
    ),
    (
        "The river starts in the mountains as a thin stream. It runs through the forest, past "
        "the mill and under the stone bridge. In the valley it becomes wide and slow, and at "
        "last it meets the sea."
    ),
    (
        "Long ago a baker had a clever cat. Each morning the cat walked through the village and "
        "looked at who was awake. Then the baker knew how many loaves to bake, and no bread was "
        "ever wasted."
    ),
    (
        "The train left the station at six in the morning. Nobody spoke, for everyone was still "
        "half asleep. When the sun came up over the hills, an old man took out his violin and "
        "played until the last stop."
    ),
]

FALLBACK = "I do not know that. I am only a tiny model, so please ask me something simpler."

SYSTEM_LINES = [
    "You are a helpful assistant.",
    "You are a helpful assistant.",
    "Be brief.",
    "You are Tiny Chat.",
    "Answer the question.",
]

WORDS = [
    "red",
    "blue",
    "green",
    "apple",
    "pear",
    "lemon",
    "dog",
    "horse",
    "bird",
    "fish",
    "tree",
    "stone",
    "river",
    "cloud",
    "moon",
    "star",
    "boat",
    "train",
    "book",
    "lamp",
    "door",
    "chair",
    "north",
    "south",
    "east",
    "west",
    "gold",
    "silver",
    "wind",
    "rain",
]

UNKNOWN_BEGINNINGS = [
    "Why is",
    "Where is",
    "Who made",
    "When was",
    "How big is",
    "How old is",
    "Do you like",
    "Tell me about",
    "What do you think of",
    "Please describe",
    "Translate",
    "Summarize",
    "Explain why",
    "Who was",
    "What color is",
    "How many people know",
    "Write an essay about",
    "Solve",
    "Compare",
    "Find",
]

UNKNOWN_SUBJECTS = [
    "the king of Mars",
    "my neighbour",
    "quantum physics",
    "the football match",
    "Brazil",
    "an elephant",
    "the stock market",
    "Mozart",
    "the Roman empire",
    "photosynthesis",
    "my homework",
    "the weather tomorrow",
    "a violin",
    "chess openings",
    "the speed of light",
    "volcanoes",
    "tax law",
    "the last election",
    "penguins",
    "democracy",
    "a bicycle",
    "the movie",
    "pizza with cheese",
    "Shakespeare",
    "the ocean floor",
    "an old map",
    "this equation",
    "my email",
    "black holes",
    "tea and coffee",
    "a dragon",
    "good music",
    "vaccines",
    "the best phone",
    "ancient Egypt",
    "hockey",
    "jazz",
    "the zoo",
    "poker rules",
    "dinosaurs",
]


def answers_of(task: str) -> list[tuple[list[str], str]]:
    """Every group of questions with the answer that this kind of model gives."""
    if task == "chat":
        return QUESTIONS
    return [(asked, STORY_ANSWERS.get(asked[0], answer)) for asked, answer in QUESTIONS]


def tokenizer_text() -> str:
    """The text whose pairs decide the vocabulary; answers count twice."""
    questions = [question for asked, _ in QUESTIONS for question in asked]
    answers = [answer for _, answer in QUESTIONS] * 2
    roles = "user\nassistant\nsystem\n" * 40
    parts = [*questions, *answers, *STORIES, FALLBACK, *SYSTEM_LINES, " ".join(WORDS), roles]
    return "\n".join(parts)
