"""Words that tell what a prompt asks for, with the points each is worth: data for the rules.

Weights were set by hand and checked on public prompts of a hundred sources. A word counts once,
however often it stands in the prompt.
"""

# Word lists are split from text because that is how they are read and mended.
# ruff: noqa: SIM905

from typing import Final

from shared.domain.inference import TaskType

CODING, CREATIVE, ANALYSIS = TaskType.CODING, TaskType.CREATIVE, TaskType.ANALYSIS
REASONING, QA = TaskType.COMPLEX_REASONING, TaskType.SIMPLE_QA


def _table(
    *groups: tuple[TaskType, float, str],
) -> dict[str, tuple[TaskType, float]]:
    return {word: (kind, points) for kind, points, words in groups for word in words.split()}


ANYWHERE: Final = _table(
    (CODING, 2.2, """
        python javascript typescript java sql html css php kotlin golang cpp bash regex json
        jquery react numpy pandas django api script scripts compiler snippet codebase
        refactor debug debugging unittest stacktrace segfault pseudocode github linux sqlite mysql
        postgres postgresql mongodb dockerfile async await lambda goroutine struct"""),
    (CODING, 1.6, """
        code function functions method algorithm array arrays string strings program programming
        tuple tuples dictionary query database loop recursive recursively recursion
        integer integers variable compile runtime boolean stack heap binary node linked hashmap
        iterator css3 html5 webpage website rest endpoint table column columns
        implement sort sorted list lists output outputs sublist"""),
    (CREATIVE, 2.4, """
        story stories poem haiku limerick sonnet lyrics song slogan tagline jingle screenplay
        rap ballad fairytale fanfiction roleplay villanelle stanza rhyme rhyming
        blog blogpost tweet caption advertisement ad brochure
        gedicht geschichte poema cuento histoire poème"""),
    (CREATIVE, 1.5, """
        essay article speech dialogue monologue characters fiction novel
        fantasy creative humorous funny joke pun imaginary imagine pretend narrator protagonist
        scene plot post marketing campaign catchy title headline persona biography
        instagram twitter facebook linkedin newsletter letter invitation toast metaphor script
        description audience poetic"""),
    (ANALYSIS, 2.4, """
        summarize summarise summary summarization tldr paraphrase paraphrases classify
        categorize categorise sentiment extract keywords abstract analyze analyse evaluate
        compare contrast critique pros cons résume zusammenfassung fasse resume resumen
        implications assess interpret"""),
    (ANALYSIS, 1.3, """
        passage paragraph paragraphs article text context review reviews document conversation
        transcript dataset excerpt reviewer following statement sentence sentences
        identify category categories topic topics tone opinion positive negative based
        trends differences similarities dialog dialogue report news"""),
    (REASONING, 2.4, """
        prove proof theorem equation equations polynomial probability integral derivative
        triangle perimeter circumference radius hypotenuse modulo divisible remainder factorial
        permutations logarithm matrix eigenvalue inequality quadratic parabola vertices
        puzzle riddle deduce premise premises syllogism paradox conclusion conclude inferred
        infer assumption weakens strengthens"""),
    (REASONING, 1.4, """
        solve calculate compute simplify evaluate product total altogether remaining
        cost costs each twice half percent fraction ratio average mean sum per
        many much left speed miles hours minutes degrees angle area volume
        positive integer digits logic logical reasoning therefore must
        if suppose exactly least"""),
)  # fmt: skip
"""Cues that count wherever they stand (as far as the prompt is read)."""

COMMANDS: Final = _table(
    (CODING, 1.0, "implement debug refactor optimize fix code program develop build convert"),
    (CREATIVE, 1.8, "write compose craft imagine invent pen tell brainstorm draft roleplay act"),
    (CREATIVE, 0.8, "create generate come design"),
    (ANALYSIS, 2.2, """
        summarize summarise classify analyze analyse compare identify extract categorize tell
        review given read based evaluate list assess examine discuss contrast select"""),
    (REASONING, 1.8, "solve calculate compute prove find evaluate determine simplify let suppose"),
)  # fmt: skip
"""Cues that count as one of a sentence's first two words, where an instruction begins."""

NARRATION: Final = frozenset("you i he she they we it a an the one every everyone".split())
"""First words of sentences that tell something."""

QUESTIONS: Final = frozenset(
    """
    who what when where which whose whom name is are was were does did do has have can could how
    why define explain describe wer was wann wo wie warum qui que quand où comment quién qué cuándo
    dónde cómo
    """.split()
)
"""First words of short questions."""

ASKING: Final = frozenset("who what when where which whose how why".split())
"""Words that make a question wherever they stand."""

DEPTH: Final = frozenset(
    """
    prove derive rigorous rigorously comprehensive detailed thorough thoroughly optimize optimal
    architecture design distributed concurrent concurrency scalable tradeoffs trade-offs critically
    formal complexity asymptotic theorem implications justify nuanced synthesize multi-step
    strategy counterexample integrate eigenvalue induction derivation simulate prototype proof
    polynomial probability analyze evaluate compare implications framework advanced complex
    algorithm efficient invariant equilibrium constraints consistent fault-tolerant
    """.split()
)
"""Words that ask for depth."""

EASE: Final = frozenset(
    "simple simply basic brief briefly short quick quickly easy beginner name capital color".split()
)
"""Words that ask for little."""

BOUNDS: Final = frozenset(
    """
    must should exactly without only except ensure avoid least most maximum minimum limit
    required requirement requirements constraint constraints unless never always within
    """.split()
)
"""Words that bind the answer."""

STEPS: Final = frozenset(
    "then next finally afterwards subsequently step steps first second third lastly both".split()
)
"""Words that string several tasks together."""
