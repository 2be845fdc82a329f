# ---
# jupyter:
#   jupytext:
#     formats: notebooks///py:percent
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
# Every headline number of this run, gathered from its pages: the claim as a sentence, its value with a 95 % interval, what the
# control gave **through the same code**, the rule that decides, and the verdict. A claim without a control cannot be made here,
# only be listed as *not tested*, with the reason.
#
# Rules are fixed before a run: thresholds stand in the configuration, the wording of a rule in the notebook that applies it.
# Both are hashed below, so anybody can see whether they were changed after the results were known.

# %% tags=["parameters"]
run = "demo"
seed = 0
results = "results"
rules_hash = ""

# %% tags=["hide-input"]
from biosae_utils.book.page import Page

page = Page.open("15_scorecard", globals())
p = page.params

# %% tags=["hide-input"]
import pandas as pd

from biosae_utils.book import plots, scorecard
from biosae_utils.book.status import collect_claims
from biosae_utils.claims import VERDICTS, of_control
from biosae_utils.errors import BiosaeError

claims = collect_claims(p.run, results=p.results, write=False)
if not claims:
    raise BiosaeError("No page of this run has made a claim yet", where=p.run, do="run the other phases first")
own = [c for c in claims if not of_control(c)]
count = scorecard.tally(own)
facts = {
    "claims": len(own),
    "pages that make them": len({(c["phase"], c["model"], c["layer"]) for c in own}),
    **{VERDICTS[verdict]: n for verdict, n in count.items()},
    "claims on pages of controls, not counted above": len(claims) - len(own),
    "hash of the configuration (thresholds)": p.rules_hash or "not run from a configuration",
    "hash of the claims' wording and rules": scorecard.wording(claims),
}
page.table(
    pd.DataFrame({"what": facts.keys(), "value": [str(v) for v in facts.values()]}),
    name="facts",
    caption="The run in numbers.",
)

# %% tags=["hide-input"]
tally = scorecard.by_phase(own)
page.save(tally, "tally")
page.table(tally, name="tally", caption="Verdicts by phase.")

# %% [markdown]
# ## Value against control
#
# A number means something by its distance from its control. “Supported” says that the distance, as the claim's rule defines
# it, is there; it does not say that it is large. Look at the lengths of the lines.

# %% tags=["hide-input"]
table = scorecard.scaled(own)
page.save(table, "scaled")
for group, name, axis, how in (
    ("share", "forest-shares", "percent", "All claims whose value is a share."),
    ("other", "forest-other", "relative to the largest number of the claim",
     "Claims in other units, each divided by the largest of its value, interval and control, so that only the distance can be read; the numbers are in the table."),
):  # fmt: skip
    part = table[table["group"] == group]
    if len(part):
        page.figure(
            plots.forest(part, xtitle=axis, names=VERDICTS),
            name=name,
            alt=f"Forest plot of {len(part)} claims: value with its interval against its control; "
            f"{(part.verdict == 'supported').sum()} supported, {(part.verdict == 'not_supported').sum()} not supported.",
            caption=f"{how} Dot and bar: value and 95 % interval, coloured by verdict. Cross: the control. Open diamond: the published "
            "value, where there is one. The thin line is what the claim stands on.",
        )

# %% [markdown]
# ## Every claim

# %% tags=["hide-input"]
page.table(
    scorecard.claims_table(claims),
    name="claims",
    caption="All claims of the run with value, interval, control, verdict, published value, rule and the command that computes it again.",
)

# %% [markdown]
# **What it shows.** Which sentences of this book survive their control. **What it does not show.** That the others are wrong: “not
# supported” is the absence of a difference at this size of model and data. And claims of the same kind are made for every
# layer and model; their verdicts are not independent of each other, and no correction is made over the claims of the scorecard.
#
# ## What a sceptic should check
#
# * Read a rule before its value. Would you have called the claim supported by that rule?
# * Is a control strict enough? Each page names more than one; the scorecard shows the one that the rule names.
# * `biosae verify` reads every table again and compares the hashes and the claims with what the pages wrote.
#
# ## Exercise
#
# ```{admonition} A rule of your own
# :class: tip
# Take a claim that is supported by the narrowest margin. Change its rule so that it asks for twice the distance from the control, rerun its page,
# then this one. Which of the two hashes above changes, and why does the other one not?
# ```

# %% tags=["takeaways"]
lost = [c for c in own if c["verdict"] == "not_supported"]
names = list(dict.fromkeys(c["title"] for c in lost))
page.close(
    takeaways=[
        f"{count['supported']} of {len(own)} claims are supported, {count['not_supported']} are not, {count['not_tested']} were not tested.",
        "Not supported anywhere or in some layers: " + "; ".join(n[0].lower() + n[1:] for n in names[:8]) + (" …" if len(names) > 8 else "") + "."
        if names
        else "Every claim that was tested is supported: look twice at the controls.",
    ]
)
