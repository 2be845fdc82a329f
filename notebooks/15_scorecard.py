# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Scorecard of the run {{ run }}
#
# Which sentences of this book survive their control? Here is every headline number of the run, gathered from its pages,
# beside what the control gave **through the same code**.
#
# Each claim is a sentence with a value, a 95 % interval, a control, the rule that decides, and a verdict. A claim
# without a control cannot be made here; it can only be listed as *not tested*, with the reason. Thresholds stand in the
# configuration of the run, the wording of a rule in the code of the phase that applies it. Both are hashed below, so
# that two runs can be compared: equal hashes mean that both were judged by the same rules.

# %% tags=["parameters"]
run = "demo"
seed = 0
results = "results"
rules_hash = ""

# %% tags=["hide-input"]
from biosae_utils.book import plots
from biosae_utils.book.page import Page
from biosae_utils.claims import VERDICTS

page = Page.open("15_scorecard", globals())
found = page.result()
facts = found.facts

# %% tags=["hero", "hide-input"]
if facts.kinds:
    first = facts.kinds[0]
    page.figure(
        plots.forest(
            found.table("scaled").query("kind == @first"),
            names=VERDICTS,
            xtitle={"share": "percent", "other": "relative to the largest number of the claim"}[first],
            height=150 + 16 * facts.n_drawn[first],
        ),
        name="forest",
        alt=f"Forest plot of {facts.n_drawn[first]} claims, each value with its interval against its control: "
        f"{facts.drawn_verdicts[first]}.",
        caption={"share": "All claims whose value is a share.", "other": "All claims; none of them is a share."}[first]
        + " Dot and bar: the value and its 95 % interval, coloured by verdict. Cross: the control. Open diamond: the "
        "published value, where there is one. The thin line between value and control is what the claim stands on.",
    )

# %% [markdown]
# ## Value against control
#
# A number means something by its distance from its control. “Supported” says that the distance, as the claim's rule
# defines it, is there; it does not say that it is large. Look at the lengths of the lines. Claims in units that are no
# shares come second, each divided by the largest of its value, its interval and its control, so that only the distance
# can be read; their numbers are in the table of all claims.

# %% tags=["hide-input"]
if len(facts.kinds) == 2:
    page.figure(
        plots.forest(
            found.table("scaled").query("kind == 'other'"),
            names=VERDICTS,
            xtitle="relative to the largest number of the claim",
        ),
        name="forest-other",
        alt=f"Forest plot of {facts.n_drawn['other']} claims that are no shares, each value with its interval against "
        f"its control: {facts.drawn_verdicts['other']}.",
        caption="Claims in other units, each on a scale of its own on which its largest number is 1 or -1. Signs are "
        "those of the figure above.",
    )

# %% [markdown]
# ## The run in numbers
#
# Two kinds of claims are listed and not counted. Claims on pages of **controls** (a model with random weights, cells
# with shuffled genes) are what others must beat, and no findings. **Checks** of the software, such as cutting a forward
# pass and resuming it, must hold, or else the pages that build on them mean nothing; that they hold is no finding
# either.

# %% tags=["hide-input"]
page.table(found.table("run"), name="run", caption="The run in numbers.")

# %% tags=["hide-input"]
page.table(found.table("tally"), name="tally", caption="Verdicts on findings by phase.")

# %% [markdown]
# ## Every claim
#
# Nothing is left out, not even what was not tested. The command at the end of a row computes it again.

# %% tags=["hide-input"]
page.table(
    found.table("claims"),
    name="claims",
    caption=f"All {facts.n_claims} claims of the run with value, interval and what was resampled for it, control, "
    "verdict, published value, rule, and the command that computes it again.",
)

# %% [markdown]
# **What it shows.** Which sentences of this book stand clear of their control. **What it does not show.** That the
# others are wrong: “not supported” is the absence of a difference at this size of model and data. And claims of the
# same kind are made for every layer and model; their verdicts are not independent of each other, and no correction is
# made over the claims of the scorecard.
#
# ## What argues against it
#
# * Read a rule before its value. Would you have called the claim supported by that rule? Nothing on this page proves
#   that a rule is older than the result that it judges; only the history of the code can show that.
# * Is a control strict enough? Most pages name more than one; the scorecard shows the one that the rule names.
# * The claims were chosen by those who wrote this book. What nobody thought of claiming is missing here.
# * `biosae verify` reads every table again and compares hashes and claims with what the pages wrote. It finds what was
#   changed afterwards, and not what was wrong from the beginning.
#
# ## Exercise
#
# ```{admonition} A rule of your own
# :class: tip
# Take a claim that is supported by the narrowest margin. Change its rule so that it asks for twice the distance from
# the control, rerun its page, then this one. Which of the two hashes above changes, and why does the other one not?
# ```

# %% tags=["takeaways", "hide-input"]
page.takeaways(
    [
        f"Of {facts.n_findings} findings, {facts.supported} are supported by the distance from their control, "
        f"{facts.trivial} lie above the control by too little to matter, {facts.not_supported} are not supported, and "
        f"{facts.not_tested} were not tested.",
        f"Kinds of claims that did not hold on at least one page: {facts.n_not_held} ({facts.not_held}).",
    ]
)
