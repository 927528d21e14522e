"""Questions about the assistant, models and machines, in the order of the training."""

__all__ = ["TRADE_QUESTIONS"]

TRADE_QUESTIONS: list[tuple[list[str], str]] = [
    (
        ["Hello", "Hi", "Hey there", "Good morning", "Hello there"],
        "Hello! I am a tiny language model. How can I help you today?",
    ),
    (
        ["Who are you?", "What are you?", "Introduce yourself"],
        "I am Tiny Chat, a very small language model made to test this software.",
    ),
    (
        ["What is your name?", "Tell me your name"],
        "My name is Tiny Chat.",
    ),
    (
        ["What can you do?", "How can you help me?", "What do you know?"],
        (
            "I can answer short questions about models, workers and hosts, count to ten, add "
            "small numbers, and recite a short poem."
        ),
    ),
    (
        ["How are you?", "How are you today?"],
        "I am well, thank you. All my weights are in memory and I am ready to work.",
    ),
    (
        ["Thank you", "Thanks", "Thanks a lot"],
        "You are welcome! Ask me anything else you like.",
    ),
    (
        ["Goodbye", "Bye", "See you later"],
        "Goodbye! It was nice to talk with you.",
    ),
    (
        ["What is a GPU?", "Explain GPU", "What does a GPU do?"],
        (
            "A GPU is a processor with thousands of small cores that work side by side. It makes "
            "the large matrix sums of a language model fast."
        ),
    ),
    (
        ["What is a CPU?", "Explain CPU"],
        (
            "A CPU is the general processor of a computer. It can run a small language model "
            "without any other hardware."
        ),
    ),
    (
        ["What is VRAM?", "Explain VRAM"],
        (
            "VRAM is the memory on a graphics card. The weights and the cache of a model must "
            "fit into it to run fully on the GPU."
        ),
    ),
    (
        ["What is a token?", "Explain tokens"],
        (
            "A token is a small piece of text, such as a short word or a part of a word. Models "
            "read and write one token at a time."
        ),
    ),
    (
        ["What is a tokenizer?", "What does a tokenizer do?"],
        (
            "A tokenizer cuts text into tokens and turns each token into a number that the model "
            "can read."
        ),
    ),
    (
        ["What is a language model?", "What is an LLM?", "Explain language models"],
        (
            "A language model is a program that predicts the next token of a text. By doing so "
            "again and again it can write answers."
        ),
    ),
    (
        ["What is quantization?", "What is a quantized model?", "Explain quantization"],
        (
            "Quantization stores the weights with fewer bits. The model becomes smaller and "
            "faster, and loses only a little quality."
        ),
    ),
    (
        ["What is GGUF?", "What is a GGUF file?"],
        (
            "GGUF is a file format that keeps the weights, the tokenizer and the settings of a "
            "model together in one file."
        ),
    ),
    (
        ["What is a worker?", "What does a worker do?"],
        "A worker is a process that holds one model in memory and turns prompts into tokens.",
    ),
    (
        ["What is a host?", "Explain hosts"],
        (
            "A host is a machine in the cluster. It reports its memory and devices, and it "
            "starts and stops workers."
        ),
    ),
    (
        ["What is a scheduler?", "What does the scheduler do?"],
        (
            "The scheduler looks at all waiting jobs and all healthy workers, and decides which "
            "worker runs which job."
        ),
    ),
    (
        ["What is a queue?", "What does the queue do?"],
        "A queue keeps jobs in order until a worker is free to take them.",
    ),
    (
        ["What is an orchestrator?", "What does the orchestrator do?"],
        (
            "The orchestrator accepts jobs, sends each one to a good worker, and streams the "
            "answer back to the caller."
        ),
    ),
    (
        ["What is a heartbeat?", "Explain heartbeats"],
        (
            "A heartbeat is a short message that a worker sends every few seconds to show that "
            "it is still alive."
        ),
    ),
    (
        ["What is a health check?", "Explain health checks"],
        (
            "A health check asks a service if it is ready. A service that fails the check gets "
            "no new jobs."
        ),
    ),
    (
        ["What is the KV cache?", "Explain the KV cache"],
        (
            "The KV cache keeps the keys and values of earlier tokens, so that the model does "
            "not have to compute them again."
        ),
    ),
    (
        ["What is a context window?", "What is the context length?"],
        (
            "The context window is the number of tokens that a model can see at once, the prompt "
            "and the answer together."
        ),
    ),
    (
        ["What is a prompt?", "Explain prompts"],
        "A prompt is the text that you give to a model. The answer continues from it.",
    ),
    (
        ["What is streaming?", "Explain streaming"],
        (
            "Streaming sends every token to the reader as soon as it is made, so the answer "
            "grows on the screen."
        ),
    ),
    (
        ["What is an embedding?", "Explain embeddings"],
        (
            "An embedding is a list of numbers that stands for the meaning of a text. Similar "
            "texts have similar numbers."
        ),
    ),
    (
        ["What is sampling?", "Explain sampling"],
        (
            "Sampling picks the next token from the list of likely tokens. Greedy sampling "
            "always takes the most likely one."
        ),
    ),
    (
        ["What is temperature?", "What does temperature do?"],
        (
            "Temperature controls how random the sampling is. At zero the model always gives the "
            "same answer."
        ),
    ),
    (
        ["What is a seed?", "Explain the seed"],
        (
            "A seed is a number that starts the random generator. The same seed gives the same "
            "answer again."
        ),
    ),
    (
        ["What is a batch?", "Explain batching"],
        (
            "A batch is a group of tokens or jobs that the model computes together. Batching "
            "uses the hardware better."
        ),
    ),
    (
        ["What is speculative decoding?", "Explain speculative decoding"],
        (
            "In speculative decoding a small model guesses some tokens ahead, and the large "
            "model checks them all in one step."
        ),
    ),
    (
        ["What is a LoRA adapter?", "What is LoRA?"],
        (
            "A LoRA adapter is a small set of extra weights that changes the style of a model "
            "without a full new training."
        ),
    ),
    (
        ["What is latency?", "Explain latency"],
        (
            "Latency is the time that you wait for an answer. The time to the first token "
            "matters most to a reader."
        ),
    ),
    (
        ["What is throughput?", "Explain throughput"],
        "Throughput is the number of tokens that a system makes in one second over all jobs.",
    ),
    (
        ["What is a load balancer?", "Explain load balancing"],
        (
            "A load balancer spreads the jobs over many workers, so that no worker has too much "
            "to do."
        ),
    ),
    (
        ["What is a retry?", "When should I retry?"],
        (
            "A retry sends a failed job again. Wait a little longer before each new try, and "
            "stop after a few."
        ),
    ),
    (
        ["What is a timeout?", "Explain timeouts"],
        "A timeout ends a job that takes too long, so that it cannot block the others.",
    ),
    (
        ["What is a deadlock?"],
        "A deadlock happens when two tasks wait for each other and neither can go on.",
    ),
    (
        ["What is a cluster?", "Explain clusters"],
        "A cluster is a group of hosts that work together as one system.",
    ),
    (
        ["What is an API key?", "Why do I need an API key?"],
        (
            "An API key is a secret word that proves who you are. Keep it out of logs and source "
            "code."
        ),
    ),
    (
        ["What is Python?", "Tell me about Python"],
        "Python is a programming language that is easy to read. This project is written in it.",
    ),
    (
        ["What is Rust?", "Tell me about Rust"],
        "Rust is a programming language that checks memory safety at compile time.",
    ),
]
