"""Suite files: what they mean, and one message with file, key and nearest known value for what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from harness.resources import suite_files
from harness.suite import Suite, load_suite, parse_suite
from harness.suite_serving import Serving

VALID: dict[str, Any] = {
    "name": "small",
    "title": "A small suite",
    "models": [
        {"name": "moe", "path": "moe", "group": "sparse"},
        {"name": "dense", "hub": "organisation/dense", "revision": "abc"},
    ],
    "comparisons": [{"sparse": "sparse", "dense": ["dense"]}],
    "serving": [{"prompt_tokens": 32, "output_tokens": 16, "concurrency": [1, 8]}],
    "quality": {"tasks": ["facts"]},
}
SHIPPED = list(suite_files().values())


def suite_of(**changes: Any) -> Suite:
    return parse_suite(yaml.safe_dump({**VALID, **changes}), where="suite.yaml")


def message(**changes: Any) -> str:
    with pytest.raises(InputError) as caught:
        suite_of(**changes)
    assert caught.value.exit_code == 2
    return str(caught.value)


def model(**changes: Any) -> dict[str, Any]:
    return {"name": "moe", "path": "moe", **changes}


def serving(**changes: Any) -> dict[str, Any]:
    return {"prompt_tokens": 32, "output_tokens": 16, "concurrency": [1], **changes}


class TestValid:
    def test_what_is_left_out_has_a_default(self) -> None:
        suite = suite_of()
        assert (suite.repeats, suite.seed, suite.timeout_s) == (3, 0, 3600.0)
        assert (suite.models[0].precision, suite.models[0].weights) == ("bfloat16", "checkpoint")
        assert suite.serving[0].name == "serving"
        assert suite.quality is not None
        assert suite.quality.limit is None
        assert suite.leaderboard.concurrency is None

    def test_a_comparison_may_say_what_it_is_about(self) -> None:
        named = {"sparse": "moe", "dense": ["dense"], "matching": ["iso-memory", "iso-cost"]}
        assert suite_of(comparisons=[named]).comparisons[0].matching == ("iso-memory", "iso-cost")
        assert suite_of().comparisons[0].matching == ()

    def test_requests_follow_the_concurrency(self) -> None:
        workload = Serving(prompt_tokens=1, output_tokens=2, concurrency=(1, 8))
        assert [workload.requests(1), workload.requests(2), workload.requests(8)] == [8, 8, 32]

    def test_serving_or_quality_is_enough(self) -> None:
        assert suite_of(quality=None).quality is None
        assert suite_of(serving=[]).serving == ()

    @given(
        st.integers(1, 100), st.integers(0, 2**31 - 1),
        st.lists(st.integers(1, 10**8), min_size=1, max_size=4, unique=True),
    )
    def test_a_suite_written_out_is_the_same_suite(self, repeats: int, seed: int, loads: list[int]) -> None:
        suite = suite_of(repeats=repeats, seed=seed, serving=[serving(concurrency=loads)])
        assert parse_suite(yaml.safe_dump(suite.model_dump(mode="json")), where="again") == suite

    @pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
    def test_shipped_suites_are_valid_and_named_as_their_files(self, path: Path) -> None:
        assert load_suite(path).name == path.stem


class TestWrong:
    @pytest.mark.parametrize(
        ("changes", "start"),
        [
            ({"repeat": 3}, "suite.yaml:repeat: unknown key 'repeat'; did you mean 'repeats'"),
            ({"models": [model(precison="auto")]}, "suite.yaml:models[0].precison: unknown key 'precison'; did you"),
            ({"serving": [serving(prompt=3)]}, "suite.yaml:serving[0].prompt: unknown key 'prompt'"),
            ({"quality": {"taks": []}}, "suite.yaml:quality.taks: unknown key 'taks'; did you mean 'tasks'"),
        ],
    )
    def test_an_unknown_key(self, changes: dict[str, Any], start: str) -> None:
        assert message(**changes).startswith(start)

    @pytest.mark.parametrize(
        ("changes", "place"),
        [
            ({"repeats": -1}, "repeats"), ({"repeats": "3"}, "repeats"), ({"repeats": 101}, "repeats"),
            ({"seed": -1}, "seed"), ({"timeout_s": 0}, "timeout_s"), ({"timeout_s": float("inf")}, "timeout_s"),
            ({"name": "No Spaces"}, "name"), ({"name": "../up"}, "name"), ({"title": ""}, "title"),
            ({"models": []}, "models"), ({"models": [model(precision="int3")]}, "models[0].precision"),
            ({"models": [model(tensor_parallel=0)]}, "models[0].tensor_parallel"),
            ({"models": [model(expert_parallel="yes")]}, "models[0].expert_parallel"),
            ({"serving": [serving(prompt_tokens=0)]}, "serving[0].prompt_tokens"),
            ({"serving": [serving(output_tokens=1)]}, "serving[0].output_tokens"),
            ({"serving": [serving(concurrency=[])]}, "serving[0].concurrency"),
            ({"serving": [serving(concurrency=[4, -4])]}, "serving[0].concurrency[1]"),
            ({"serving": [serving(concurrency=[4, 4])]}, "serving[0].concurrency"),
            ({"serving": [serving(concurrency=[2.5])]}, "serving[0].concurrency[0]"),
            ({"quality": {"tasks": []}}, "quality.tasks"),
            ({"quality": {"tasks": ["a"], "limit": 0}}, "quality.limit"),
            ({"comparisons": [{"sparse": "moe", "dense": []}]}, "comparisons[0].dense"),
            (
                {"comparisons": [{"sparse": "moe", "dense": ["dense"], "matching": ["iso"]}]},
                "comparisons[0].matching[0]",
            ),
        ],
    )
    def test_a_wrong_value_is_placed(self, changes: dict[str, Any], place: str) -> None:
        assert message(**changes).startswith(f"suite.yaml:{place}: ")

    @pytest.mark.parametrize(
        ("changes", "text"),
        [
            ({"models": [model(precision="bfloat")]}, "unknown value 'bfloat'; did you mean 'bfloat16'"),
            ({"serving": [serving(concurrency="autom")]}, "unknown value 'autom'; did you mean 'auto'"),
            ({"serving": [serving(concurrency="8")]}, "Input should be a valid array (given: '8')"),
            (
                {"comparisons": [{"sparse": "moe", "dense": ["dense"], "matching": ["iso-activ"]}]},
                "unknown value 'iso-activ'; did you mean 'iso-active'",
            ),
            ({"repeats": "3"}, "(given: '3')"), ({"repeats": -1}, "(given: -1)"),
            ({"serving": [], "quality": None}, "nothing to measure: give serving, quality or both"),
            ({"models": [model(), model()]}, "the name 'moe' is given twice"),
            ({"models": [model(hub="a/b")]}, "give exactly one of path, hub, catalog (given: path, hub)"),
            ({"models": [{"name": "moe"}]}, "give exactly one of path, hub, catalog (given: none)"),
            (
                {"comparisons": [{"sparse": "moe", "dense": ["dense"], "matching": ["iso-cost", "iso-cost"]}]},
                "the kind 'iso-cost' is given twice",
            ),
            ({"comparisons": [{"sparse": "moa", "dense": ["dense"]}]}, "unknown model 'moa'; did you mean 'moe'?"),
            ({"comparisons": [{"sparse": "moe", "dense": ["dnse"]}]}, "unknown model 'dnse'; did you mean 'dense'?"),
            ({"serving": [serving(concurrency=[4, 4])]}, "the same load is given twice"),
            (
                {"comparisons": [{"sparse": "moe", "dense": ["dense", "dense"]}]},
                "suite.yaml: comparisons[0].dense: 'moe' and 'dense' are a pair of comparisons[0] already",
            ),
            (
                {"comparisons": [
                    {"sparse": "moe", "dense": ["dense"], "matching": ["iso-active"]},
                    {"sparse": "dense", "dense": ["moe"], "matching": ["iso-total"]},
                ]},
                "comparisons[1].dense: 'dense' and 'moe' are a pair of comparisons[0] already, whichever is named",
            ),
            (
                {"comparisons": [{"sparse": "sparse", "dense": ["moe"]}]},
                "'sparse' and 'moe' are a training and its own group; name a model of another group",
            ),
        ],
    )
    def test_a_message_says_what_is_wrong(self, changes: dict[str, Any], text: str) -> None:
        assert text in message(**changes)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", "suite.yaml: a suite is a mapping of keys"),
            ("- a\n- b\n", "suite.yaml: a suite is a mapping of keys"),
            ("name: a: b", "suite.yaml:1: not YAML: "), ("name: x\nmodels: [\n", "suite.yaml:3: not YAML: "),
            ("name: \x01", "suite.yaml: not YAML: "), ("a: !!python/object:os.system x", "suite.yaml:1: not YAML: "),
            ("a: &a [*a]", "suite.yaml: holds what JSON cannot carry: Circular"),
            ("2026-01-05: x", "suite.yaml: holds what JSON cannot carry: keys must be"),
            ("[" * 5000, "suite.yaml: not YAML: nested too deeply"),
            ("a: 1\nname: 2024-13-45", "suite.yaml:2: not YAML: '2024-13-45' is no timestamp; text goes in quotes"),
            ("timeout_s: !!int abc", "suite.yaml:1: not YAML: 'abc' is no int"),
            ("a: !!bool maybe", "suite.yaml:1: not YAML: 'maybe' is no bool"),
            ("a: !!timestamp foo", "suite.yaml:1: not YAML: 'foo' is no timestamp"),
            ("a: !!float x", "suite.yaml:1: not YAML: 'x' is no float"),
            ("a: !!int ''", "suite.yaml:1: not YAML: '' is no int"),
            ("a: " + "9" * 5000, f"suite.yaml:1: not YAML: '{'9' * 40}' is no int"),
        ],
        ids=["empty", "list", "colons", "open", "control", "object", "circular", "date", "deep", "no date", "no number",
             "no answer", "no time", "no fraction", "nothing", "long"],
    )
    def test_text_that_is_no_suite(self, text: str, expected: str) -> None:
        with pytest.raises(InputError) as caught:
            parse_suite(text, where="suite.yaml")
        assert str(caught.value).startswith(expected)

    def test_files_that_cannot_be_read(self, tmp_path: Path) -> None:
        latin = tmp_path / "latin.yaml"
        latin.write_bytes("title: Größe".encode("latin-1"))
        for path, text in (
            (tmp_path / "absent.yaml", "No such file"), (tmp_path, "directory"), (latin, "not UTF-8"),
        ):
            with pytest.raises(InputError, match=text) as caught:
                load_suite(path)
            assert caught.value.where == str(path)


class TestEngine:
    @pytest.mark.parametrize(("argument", "value"), [
        ("max_model_len", -5), ("max_model_len", None), ("max_num_seqs", 0), ("max_num_seqs", "many"),
        ("kv_cache_memory_bytes", 1.5), ("kv_cache_memory_bytes", True), ("gpu_memory_utilization", 1.1),
        ("gpu_memory_utilization", -0.5), ("gpu_memory_utilization", "all"),
    ])
    def test_a_number_that_the_plan_cannot_reckon_with(self, argument: str, value: Any) -> None:
        said = message(engine={argument: value})
        assert said.startswith(f"suite.yaml:engine: {argument} is ") and repr(value) in said
        of_a_model = message(models=[model(engine={argument: value})], comparisons=[])
        assert of_a_model.startswith("suite.yaml:models[0].engine: ")

    def test_what_a_key_of_the_model_says_is_not_said_twice(self) -> None:
        assert message(engine={"dtype": "float16"}) == (
            "suite.yaml:engine: 'dtype' is no argument to give here: use the model's precision"
        )
        assert "use the model's path, hub or catalog" in message(engine={"model": "other"})

    def test_other_arguments_pass(self) -> None:
        given = {"max_model_len": 64, "gpu_memory_utilization": 0.5, "max_num_batched_tokens": 2048}
        assert suite_of(engine=given).engine == given


@pytest.mark.parametrize(("changes", "said"), [
    ({"serving": [serving(), serving(output_tokens=8)]}, "serving: the name 'serving' is given twice"),
    ({"quality": {"tasks": ["facts", "sort", "facts"]}}, "quality.tasks: the name 'facts' is given twice"),
])
def test_two_things_of_one_name_are_not_told_apart(changes: dict[str, Any], said: str) -> None:
    assert message(**changes) == f"suite.yaml: {said}"


def test_a_key_given_twice_is_told_with_its_line() -> None:
    with pytest.raises(InputError, match=r"small.yaml:2: not YAML: the key 'name' is given twice"):
        parse_suite("name: one\nname: two\n", where="small.yaml")


def test_one_mistake_is_counted_once() -> None:
    text = "name: a\ntitle: A\nmodels: [{name: m, path: p, precision: bfloat}]\nquality: {tasks: [t]}\n"
    with pytest.raises(InputError, match="precision") as caught:
        parse_suite(text, where="small.yaml")
    assert caught.value.hint == ""


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("leaderboard: {concurrency: 9}", "leaderboard.concurrency: 9 is not measured"),
        ("leaderboard: {score: nope}", "leaderboard.score: 'nope' is not among quality.tasks"),
        ("comparisons: [{sparse: m, dense: [m]}]", "'m' is held against itself"),
    ],
)
def test_what_the_page_could_not_show(extra: str, message: str) -> None:
    text = f"name: a\ntitle: A\nmodels: [{{name: m, path: p}}]\nquality: {{tasks: [t]}}\n{extra}\n"
    with pytest.raises(InputError, match=message):
        parse_suite(text, where="small.yaml")


def test_a_group_may_not_be_named_like_another_model() -> None:
    text = "name: a\ntitle: A\nmodels: [{name: m, path: p, group: n}, {name: n, path: q}]\nquality: {tasks: [t]}\n"
    with pytest.raises(InputError, match="the group 'n' of 'm' is the name of another model"):
        parse_suite(text, where="small.yaml")


class TestServing:
    @pytest.mark.parametrize(
        ("changes", "start"),
        [
            ({"rate_per_s": [0]}, "serving[0].rate_per_s[0]: Input should be greater than or equal to 0.001 (given"),
            ({"rate_per_s": [-1.5]}, "serving[0].rate_per_s[0]: Input should be greater than or equal to 0.001"),
            ({"rate_per_s": []}, "serving[0].rate_per_s: "),
            ({"rate_per_s": [1, 1]}, "serving[0].rate_per_s: the same"),
            ({"prompt_tokens": -3}, "serving[0].prompt_tokens: Input should be greater than 0 (given: -3)"),
            ({"prompt_tokens": {"uniform": [9, 3]}},
             "serving[0].prompt_tokens.uniform: uniform goes from the smaller"),
            ({"prompt_tokens": {"uniform": [0, 3]}}, "serving[0].prompt_tokens.uniform[0]: Input should be greater"),
            ({"prompt_tokens": {"unifrom": [1, 3]}}, "serving[0].prompt_tokens.unifrom: unknown key 'unifrom'"),
            ({"prompt_tokens": {"lognormal": {"median": 5, "sigma": 0, "max": 9}}},
             "serving[0].prompt_tokens.lognormal.sigma: Input should be greater than 0"),
            ({"prompt_tokens": {"lognormal": {"median": 50, "sigma": 1, "max": 9}}},
             "serving[0].prompt_tokens.lognormal: the median 50 is outside min 1 to max 9"),
            ({"prompt_tokens": {"lognormal": {"median": 5, "sigma": 1}}},
             "serving[0].prompt_tokens.lognormal.max: this key is required"),
            ({"prompt_tokens": "many"}, "serving[0].prompt_tokens: "),
            ({"concurrency": "adaptive"}, "serving[0].concurrency: "),
            ({"concurrency": None}, "serving[0]: give at least one load: concurrency, rate_per_s, offline or replay"),
            ({"trace": "day.jsonl"}, "serving[0]: give either trace, or prompt_tokens and output_tokens"),
            ({"prompt_tokens": None}, "serving[0]: give prompt_tokens and output_tokens, or a trace"),
            ({"replay": 1.0}, "serving[0]: replay needs a trace"), ({"up_to": 8}, "serving[0]: up_to goes with"),
            ({"offline": 0}, "serving[0].offline: "), ({"burstiness": 0}, "serving[0].burstiness: "),
            ({"min_duration_s": -1}, "serving[0].min_duration_s: "), ({"goodput": {}}, "serving[0].goodput: give at"),
            ({"goodput": {"ttft_s": 0}}, "serving[0].goodput.ttft_s: Input should be greater than 0"),
            ({"goodput": {"ttft_ms": 9}}, "serving[0].goodput.ttft_ms: unknown key 'ttft_ms'; did you mean 'ttft_s'"),
        ],
    )
    def test_one_line_names_the_key(self, changes: dict[str, Any], start: str) -> None:
        given = {key: value for key, value in serving(**changes).items() if value is not None}
        text = message(serving=[given])
        assert text.startswith(f"suite.yaml:{start}")
        assert len(text.splitlines()) <= 2

    @pytest.mark.parametrize(
        ("repeats", "start"),
        [
            ({"at_least": 5, "at_most": 4}, "repeats: at_least (5) is above at_most (4)"),
            ({"at_least": 1}, "repeats.at_least: "), ({"until_within": 0}, "repeats.until_within: "),
            ({"budget_s": -1}, "repeats.budget_s: "), ({"until": 3}, "repeats.until: unknown key 'until'"),
        ],
    )
    def test_adaptive_repeats(self, repeats: dict[str, Any], start: str) -> None:
        assert message(repeats=repeats).startswith(f"suite.yaml:{start}")

    def test_the_leading_load_of_an_adaptive_sweep(self) -> None:
        suite = suite_of(serving=[serving(concurrency="auto")], leaderboard={"concurrency": 16})
        assert suite.leaderboard.concurrency == 16
        text = message(serving=[serving(concurrency="auto")], leaderboard={"concurrency": 12})
        assert "leaderboard.concurrency: 12 is not measured" in text
        text = message(serving=[serving(concurrency="auto", up_to=16)], leaderboard={"concurrency": 64})
        assert "leaderboard.concurrency: 64 is not measured" in text
