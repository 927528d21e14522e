"""Questions about the world, counting and texts, in the order of the training."""

__all__ = ["WORLD_QUESTIONS"]

WORLD_QUESTIONS: list[tuple[list[str], str]] = [
    (
        ["What is a cat?"],
        "A cat is a small animal with soft fur that likes to sleep in the sun.",
    ),
    (
        ["What is the sun?"],
        "The sun is the star in the middle of our solar system. It gives us light and warmth.",
    ),
    (
        ["What is water?"],
        "Water is a clear liquid made of hydrogen and oxygen. All living things need it.",
    ),
    (
        ["What is the capital of France?"],
        "The capital of France is Paris.",
    ),
    (
        ["What is the capital of Italy?"],
        "The capital of Italy is Rome.",
    ),
    (
        ["What is the capital of Japan?"],
        "The capital of Japan is Tokyo.",
    ),
    (
        ["What is the capital of Germany?"],
        "The capital of Germany is Berlin.",
    ),
    (
        ["What is the capital of Spain?"],
        "The capital of Spain is Madrid.",
    ),
    (
        ["Count to three"],
        "1, 2, 3.",
    ),
    (
        ["Count to five"],
        "1, 2, 3, 4, 5.",
    ),
    (
        ["Count to ten", "Please count to ten", "Can you count to ten?"],
        "1, 2, 3, 4, 5, 6, 7, 8, 9, 10.",
    ),
    (
        ["Count down from ten", "Count backwards from ten"],
        "10, 9, 8, 7, 6, 5, 4, 3, 2, 1, zero!",
    ),
    (
        ["Count to one hundred", "Count to a hundred"],
        ", ".join(str(number) for number in range(1, 101)) + ".",
    ),
    (
        ["Name the days of the week", "What are the days of the week?"],
        "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday.",
    ),
    (
        ["Name the months of the year", "What are the months?"],
        (
            "January, February, March, April, May, June, July, August, September, October, "
            "November and December."
        ),
    ),
    (
        ["Name the seasons", "What are the four seasons?"],
        "The four seasons are spring, summer, autumn and winter.",
    ),
    (
        ["Name three colors", "Name three colours"],
        "Red, green and blue.",
    ),
    (
        ["Say the alphabet", "Recite the alphabet"],
        "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z",
    ),
    (
        ["Tell me a joke", "Do you know a joke?"],
        "Why did the worker cross the network? To get to the other host.",
    ),
    (
        ["Write a poem", "Tell me a poem", "Write a short poem"],
        (
            "The queue was long, the night was deep,\n"
            "the workers had no time to sleep.\n"
            "A token here, a token there,\n"
            "the answer floated through the air.\n"
            "And when the morning light came in,\n"
            "the fans grew quiet, slow and thin."
        ),
    ),
    (
        ["Write a haiku"],
        ("Silent fans at night,\nall the little tokens rest.\nMorning brings new jobs."),
    ),
    (
        ["Tell me a story", "Tell me a short story"],
        (
            "Once there was a small worker on a quiet host. It knew only one model, but it knew "
            "it well. One day the big worker next door ran out of memory, and all its jobs came "
            "to the small one. It took them one by one, never in a hurry, and by the evening "
            "every answer was sent. From that day on nobody called it small."
        ),
    ),
    (
        ["Give me a JSON object", "Answer in JSON"],
        '{"name": "tiny-chat", "ready": true, "size": 1}',
    ),
    (
        ["Write a list", "Give me a list"],
        ("- load the model\n- read the prompt\n- write the answer"),
    ),
    (
        ["Show me some code", "Write hello world in Python"],
        ('```python\nprint("Hello, world!")\n```'),
    ),
    (
        ["Give me some advice", "Do you have any advice?"],
        "Start small, measure first, and change one thing at a time.",
    ),
    (
        ["How do I start a worker?", "How can I start a worker?"],
        (
            "Choose a model, check that it fits into memory, and ask the host to start a worker "
            "for it."
        ),
    ),
    (
        ["How do I stop a worker?", "How can I stop a worker?"],
        "Let it finish its jobs first, and then ask the host to stop it.",
    ),
    (
        ["How do I cancel a job?", "How can I cancel a job?"],
        "Close the stream or send a cancel request. The worker stops after the next token.",
    ),
    (
        ["Is the sky blue?"],
        "Yes, on a clear day the sky is blue.",
    ),
    (
        ["Can you fly?"],
        "No, I can only write text.",
    ),
    (
        ["Yes or no?"],
        "Yes.",
    ),
    (
        ["Are you alive?"],
        "No, I am only a program that predicts tokens.",
    ),
    (
        ["Say ok", "Reply with ok"],
        "ok",
    ),
    (
        ["Ping"],
        "pong",
    ),
    (
        ["Test", "This is a test"],
        "The test works. I can hear you.",
    ),
]
