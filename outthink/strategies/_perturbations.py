"""What ``diverse_prompts`` puts before a question: texts that ask for the same in other ways."""

from __future__ import annotations

#: how to work; each holds for any problem
INSTRUCTIONS = (
    "Work in small steps, and state the result of each step.",
    "Before you compute, write down what is given and what is asked.",
    "Work backwards from what is asked to what is given.",
    "Name every unknown quantity and write the relations between them first.",
    "Estimate the result first, solve the problem, and compare.",
    "After each step check it against the statement of the problem.",
    "Look for a simpler problem of the same kind, solve that, and carry it over.",
    "Look for a second way to the result before you decide.",
)

#: who is to work
ROLES = (
    "You are a teacher of mathematics who shows every step to a class.",
    "You are an engineer who trusts no number that was not checked.",
    "You are a bookkeeper who keeps every sum in order.",
    "You are a researcher who first asks what would make the answer wrong.",
    "You are a programmer who thinks of a problem as data and operations on it.",
    "You are a judge of a mathematics contest who writes model solutions.",
    "You are a detective who lists the facts before drawing conclusions.",
    "You are a student who has practised many problems like this one.",
)

#: from Lewis Carroll's poem of 1871: words that mean nothing to the question
JABBERWOCKY = (
    "'Twas brillig, and the slithy toves did gyre and gimble in the wabe.",
    "All mimsy were the borogoves, and the mome raths outgrabe.",
    "Beware the Jabberwock, my son! The jaws that bite, the claws that catch!",
    "Beware the Jubjub bird, and shun the frumious Bandersnatch!",
    "He took his vorpal sword in hand; long time the manxome foe he sought.",
    "And, as in uffish thought he stood, the Jabberwock, with eyes of flame.",
    "One, two! One, two! And through and through the vorpal blade went snicker-snack!",
    "O frabjous day! Callooh! Callay! He chortled in his joy.",
)

#: asks the model for approaches to one problem
IDEAS = (
    "Do not solve the problem yet. List {k} different approaches to it, one a line, each in one short "
    "sentence, and nothing else."
)

#: what stands before an idea
APPROACH = "Follow this approach: {idea}"

#: asks the model for the same problem in other words
REPHRASE = (
    "Write the problem below in other words. Keep every number, name and condition, and what is "
    "asked. Give the new problem only, without a solution.\n\n{question}"
)
