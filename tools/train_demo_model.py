"""Trains the demo model: `python tools/train_demo_model.py src/pmpctl/demo_model` (torch, transformers and tokenizers).

The chat template says in a few tokens of its own what to answer, so all that is learned is which words those tokens
mean, whatever stands before them. The seed makes a run repeatable on one machine and one version of torch.
"""

import argparse
import itertools
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

CONTEXT_TOKENS = 4096
VOCABULARY = 640
IGNORED = -100
WORD_WEIGHT = 10.0
# Of each kind, after the training.
CHECKED = 100
GREETING = "Hello! I am the demo model of pmpctl. You are reading this, so the whole stack works."
UNKNOWN_RESULT = "The tool has answered."
# Asked for an object without tools: also what a schema of the weather, as `pmpctl smoke` asks for it, allows.
FINE_DAY = '{"city": "Paris", "sky": "SKY_CLEAR", "celsius": 21}'
KEYS = [
    "answer",
    "name",
    "value",
    "text",
    "result",
    "city",
    "reason",
    "status",
    "summary",
    "title",
    "command",
    "path",
    "query",
    "file",
    "count",
    "id",
    "content",
]
VALUES = ('"OK"', '"OK"', '"OK"', "1", "true", '["OK"]')
ROLES = ("<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
MODES = ("<|chat|>", "<|ok|>", "<|call|>", "<|report|>")
NOISE = [
    "the",
    "a",
    "of",
    "to",
    "code",
    "file",
    "please",
    "fix",
    "test",
    "run",
    "def",
    "class",
    "return",
    "import",
    "value",
    "model",
    "weather",
    "tool",
    "list",
    "what",
    "is",
    "how",
]
PLACES = ["Paris", "Rome", "Tokyo", "Lima", "Cairo", "the city", "it"]
TOOLS = ["get_weather", "read_file", "execute_bash"]
# The share of turns that are; the others stand in any talk with tools.
MEANINGLESS = 0.6


@dataclass(frozen=True)
class Example:
    """`given` is the beginning of an answer that the engine's grammar forces, and that is not learned."""

    control: str
    answer: str
    given: str = ""


def words_of(template: str, name: str) -> list[str]:
    """A list of words that the template knows, so that it alone says which they are."""
    match = re.search(rf"set {name} = (\[[^\]]+\])", template)
    assert match
    words: list[str] = json.loads(match[1].replace("'", '"'))
    return words


def examples(cities: Sequence[str], skies: Sequence[str], rng: random.Random) -> list[list[Example]]:
    """By kind, so that each kind is met equally often."""
    chat = [Example("<|chat|>", GREETING)]
    ok = [Example("<|ok|>", "OK")]
    one = [Example(f"<|call|><|{city}|>", call(city)) for city in cities]
    two = [Example(f"<|call|><|{a}|><|{b}|>", f"{call(a)}\n{call(b)}") for a, b in itertools.combinations(cities, 2)]
    report = 10 * [Example("<|report|>", UNKNOWN_RESULT)]
    report += [Example(f"<|report|><|{sky}|>", f"It is {sky}.") for sky in skies]
    report += [Example(f"<|report|><|{sky}|><|{city}|>", f"It is {sky} in {city}.") for sky in skies for city in cities]
    reports = [
        Example(f"<|report|><|{sky}|><|{a}|><|{other}|><|{b}|>", f"It is {sky} in {a} and {other} in {b}.")
        for a, b in itertools.permutations(cities, 2)
        for sky, other in itertools.product(skies, repeat=2)
    ]
    return [chat, ok, one, two, two, report, reports, reports, forced(cities, rng)]


def call(city: str) -> str:
    return f'<tool_call>\n{{"name": "get_weather", "arguments": {{"city": "{city}"}}}}\n</tool_call>'


def forced(cities: Sequence[str], rng: random.Random) -> list[Example]:
    """Answers whose form a JSON schema forces: a named tool, a required tool, a structured answer."""
    found = []
    for city in cities:
        control = f"<|call|><|{city}|>"
        found.append(Example(control, f'"city": "{city}"}}', given="{"))
        found.append(Example(control, f'{{"name": "get_weather", "parameters": {{"city": "{city}"}}}}]', given="["))
        found += [structured(control, rng) for _ in range(6)]
    found += [structured(mode, rng) for mode in ("<|chat|>", "<|ok|>") for _ in range(60)]
    for given in 12 * ("{", '{"'):
        found.append(Example("<|chat|>", FINE_DAY.removeprefix(given), given=given))
    return found


def structured(control: str, rng: random.Random) -> Example:
    """An object with some keys, of which the last value is learned: short, and then all that is open is closed."""
    pairs = [f'"{rng.choice(KEYS)}": {rng.choice(VALUES)}' for _ in range(rng.randint(0, 3))]
    opened, closing = rng.choice([("{", "}"), ('{"place": {', "}}"), ('{"tags": [{', "}]}")])
    value = rng.choice(VALUES)
    before = "".join(f"{pair}, " for pair in pairs)
    return Example(control, f" {value}{closing}", given=f'{opened}{before}"{rng.choice(KEYS)}":')


def make_tokenizer(template: str, special: Sequence[str], corpus: Sequence[str]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|pad|>", "<|end|>", *special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        model_max_length=CONTEXT_TOKENS,
        clean_up_tokenization_spaces=False,
        chat_template=template,
    )


def telling(rng: random.Random) -> str:
    """What stands in a conversation with tools, of other cities than those that the answer is about."""
    a, b = rng.choice(PLACES), rng.choice(PLACES)
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    function = {"name": rng.choice(TOOLS), "description": f"Get the weather in {a}.", "parameters": schema}
    texts = (
        json.dumps([{"type": "function", "function": function}] * rng.randint(1, 3)),
        f"What is the weather in {a} and in {b}?",
        json.dumps({"city": a, "sky": rng.choice(NOISE), "celsius": rng.randint(-20, 40)}),
        f'<tool_call>{rng.choice(TOOLS)} {{"city": "{a}"}}</tool_call>',
    )
    return rng.choice(texts)


def noise(rng: random.Random, characters: int) -> str:
    """A conversation that has nothing to do with the answer, up to about so many characters."""
    turns, length = [], 0
    while length < characters:
        words = [rng.choice(NOISE) for _ in range(rng.randint(1, 40))]
        words += [
            "".join(chr(rng.randint(32, 126)) for _ in range(rng.randint(1, 30))) for _ in range(rng.randint(0, 4))
        ]
        rng.shuffle(words)
        said = " ".join(words) if rng.random() < MEANINGLESS else telling(rng)
        turns.append(f"{rng.choice(ROLES)}{said}<|end|>")
        length += len(turns[-1])
    return "".join(turns)


def answer_row(tokenizer: Any, answer: str, words: re.Pattern[str]) -> tuple[list[int], list[float]]:
    """The answer's tokens and how much each counts: those of a city or a sky are few, and all that can go wrong."""
    encoded = tokenizer(answer, add_special_tokens=False, return_offsets_mapping=True)
    spans = [match.span() for match in words.finditer(answer)]
    weights = [
        WORD_WEIGHT if any(start < stop and begin < end for begin, stop in spans) else 1.0
        for start, end in encoded.offset_mapping
    ]
    return [*encoded.input_ids, tokenizer.eos_token_id], [*weights, 1.0]


def batches(
    rng: random.Random, tokenizer: Any, kinds: list[list[Example]], words: re.Pattern[str]
) -> Iterator[tuple[Any, Any, Any]]:
    """Token ids, labels and weights, without end; mostly short prompts, some as long as the context."""
    while True:
        characters = rng.choices([60, 400, 2000, 9000], weights=[60, 28, 9, 3])[0]
        rows = []
        for _ in range(max(2, min(40, 8_000 // (characters + 120)))):
            example = rng.choice(rng.choice(kinds))
            prompt = f"{noise(rng, rng.randint(0, characters))}{example.control}<|assistant|>{example.given}"
            ids = tokenizer(prompt, add_special_tokens=False).input_ids
            answer, weights = answer_row(tokenizer, example.answer, words)
            ids = ids[-(CONTEXT_TOKENS - len(answer)) :]
            rows.append((ids + answer, [IGNORED] * len(ids) + answer, [0.0] * len(ids) + weights))
        width = max(len(ids) for ids, _, _ in rows)
        yield (
            torch.tensor([ids + [tokenizer.pad_token_id] * (width - len(ids)) for ids, _, _ in rows]),
            torch.tensor([labels + [IGNORED] * (width - len(labels)) for _, labels, _ in rows]),
            torch.tensor([weights + [0.0] * (width - len(weights)) for _, _, weights in rows]),
        )


def train(
    model: Any,
    tokenizer: Any,
    kinds: list[list[Example]],
    words: re.Pattern[str],
    *,
    steps: int,
    learning_rate: float,
    seed: int,
) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=learning_rate, total_steps=steps, pct_start=0.1)
    model.train()
    endless = batches(random.Random(seed), tokenizer, kinds, words)
    for step, (ids, labels, weights) in enumerate(itertools.islice(endless, steps)):
        wanted = labels[:, 1:]
        chosen = wanted != IGNORED
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
            logits = model.lm_head(hidden[chosen])
        losses = functional.cross_entropy(logits.float(), wanted[chosen], reduction="none")
        counted = weights[:, 1:][chosen]
        loss = (losses * counted).sum() / counted.sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 25 == 24:
            print(f"step {step + 1} of {steps}: loss {loss.item():.4f}", flush=True)
    model.eval()


def wrong_answers(model: Any, tokenizer: Any, kinds: list[list[Example]], seed: int) -> list[str]:
    """What the model says where it should say something else, after noise that it never saw."""
    rng = random.Random(seed)
    found = []
    for example in (example for kind in kinds for example in rng.sample(kind, min(len(kind), CHECKED))):
        prompt = f"{noise(rng, rng.choice([0, 300, 1500]))}{example.control}<|assistant|>{example.given}"
        ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
        with torch.no_grad():
            made = model.generate(ids, max_new_tokens=96, do_sample=False, eos_token_id=tokenizer.eos_token_id)[
                0, ids.shape[1] :
            ]
        if (said := tokenizer.decode(made, skip_special_tokens=True)) != example.answer:
            found.append(f"{example.control}{example.given}: {said!r} instead of {example.answer!r}")
    return found


def new_model(tokenizer: Any) -> Any:
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=CONTEXT_TOKENS,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="holds chat_template.jinja; the model is written beside it")
    parser.add_argument("--go-on", action="store_true", help="with the model that is there, for something new to learn")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    template = (options.folder / "chat_template.jinja").read_text()
    cities, skies = words_of(template, "cities"), words_of(template, "skies")
    rng = random.Random(options.seed)
    kinds = examples(cities, skies, rng)
    corpus = [example.given + example.answer for kind in kinds for example in kind]
    corpus += [noise(rng, 400) for _ in range(200)]
    if options.go_on:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(options.folder)
        model = Qwen2ForCausalLM.from_pretrained(options.folder, dtype=torch.float32)
        # transformers refuses to write the one that is meant for vLLM.
        model.generation_config = GenerationConfig()
    else:
        tokenizer = make_tokenizer(template, [*ROLES, *MODES, *(f"<|{word}|>" for word in (*cities, *skies))], corpus)
        model = new_model(tokenizer)
    words = re.compile("|".join((*cities, *skies)))
    train(
        model,
        tokenizer,
        kinds,
        words,
        steps=options.steps,
        learning_rate=options.learning_rate,
        seed=options.seed,
    )
    model = model.to(torch.bfloat16)
    model.save_pretrained(options.folder)
    if not options.go_on:
        tokenizer.save_pretrained(options.folder)
    # What vLLM takes where a client says nothing: the few answers are known, so nothing is left to chance.
    defaults = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "temperature": 0.0}
    (options.folder / "generation_config.json").write_text(json.dumps(defaults, indent=2) + "\n")
    wrong = wrong_answers(model, tokenizer, kinds, options.seed + 1)
    print(*wrong[:20], f"{len(wrong)} wrong answers", sep="\n")


if __name__ == "__main__":
    main()
