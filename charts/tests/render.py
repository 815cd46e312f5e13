#!/usr/bin/env python3
"""Renders the chart with Helm's own library, for cli/tests/chart and for looking at it by hand.

    charts/tests/render.py CHART < CASES            as JSON, for the tests
    charts/tests/render.py CHART --print VALUES...  as YAML; VALUES are files or KEY=VALUE

CASES is a JSON object: name -> {"files": [values files], "values": {...}, "release": NAME, "namespace": NAME}, or
{"helmRelease": FILE}: the values of the HelmRelease in that file of Flux's objects.
The answer: name -> {"error": text or null, "notes": text, "lint": [messages], "objects": [{"source": template,
"text": the document as rendered, "object": its content}]}.
"""
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "target" / "helm"))
try:
    import helm_python as helm
except ImportError as error:
    sys.exit(f"Helm's library is not there ({error}): `scripts/deps test`, which `make test` runs, installs it into target/helm")


def overlay(below, above):
    """`above` over `below`, as Helm joins several values files."""
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            overlay(below[key], value)
        else:
            below[key] = value


def values_of(case):
    if "helmRelease" in case:
        case = case_of_release(pathlib.Path(case["helmRelease"]).read_text())
    values = {}
    for file in case.get("files", []):
        overlay(values, helm.values_from_yaml(pathlib.Path(file).read_text()))
    overlay(values, case.get("values", {}))
    return values


def case_of_release(text):
    objects = (helm.values_from_yaml(document) for document in documents(text))
    spec = next(found["spec"] for found in objects if found["kind"] == "HelmRelease")
    files = [ROOT / file for file in spec["chart"]["spec"].get("valuesFiles", [])]
    return {"files": files, "values": spec.get("values", {})}


def documents(text):
    """The documents of a rendered template that hold more than comments."""
    for document in re.split(r"^---[ \t]*$", text, flags=re.MULTILINE):
        if any(line.strip() and not line.lstrip().startswith("#") for line in document.splitlines()):
            yield document.strip("\n") + "\n"


def objects_of(rendered):
    for source in sorted(rendered):
        if source.endswith(".yaml"):
            for text in documents(rendered[source]):
                yield {"source": source.split("/", 1)[1], "text": text, "object": helm.values_from_yaml(text)}


def render(path, chart, case):
    answer = {"error": None, "notes": "", "lint": [], "objects": []}
    values, namespace = values_of(case), case.get("namespace", "istio-system")
    try:
        rendered = chart.render(values, name=case.get("release", "outrigger"), namespace=namespace, is_install=True)
    except helm.HelmError as error:
        answer["error"] = str(error)
        return answer
    report = helm.lint(path, values, strict=True, namespace=namespace)
    answer["lint"] = [message for message in report["messages"] if message["severity"] > 1] + report["errors"]
    answer["notes"] = next(text for source, text in rendered.items() if source.endswith("NOTES.txt"))
    answer["objects"] = list(objects_of(rendered))
    return answer


def assignment(text):
    """`a.b=c` as values, the way of `helm --set` for texts."""
    keys, value = text.split("=", 1)
    for key in reversed(keys.split(".")):
        value = {key: value}
    return value


def show(path, chart, words):
    case = {"files": [word for word in words if "=" not in word], "values": {}}
    for word in words:
        if "=" in word:
            overlay(case["values"], assignment(word))
    answer = render(path, chart, case)
    if answer["error"]:
        sys.exit(answer["error"])
    for document in answer["objects"]:
        print(f"---\n# Source: {document['source']}\n{document['text']}", end="")
    print(answer["notes"], file=sys.stderr)


def main():
    path = sys.argv[1]
    with helm.Chart.load(path) as chart:
        if sys.argv[2:3] == ["--print"]:
            show(path, chart, sys.argv[3:])
        else:
            json.dump({name: render(path, chart, case) for name, case in json.load(sys.stdin).items()}, sys.stdout)


main()
