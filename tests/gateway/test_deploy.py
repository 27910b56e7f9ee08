"""What is deployed fits the gateway: metrics, settings, names, times; and linters where there are any."""

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from outthink.core.errors import SpecError
from outthink.gateway.config import read_text
from outthink.gateway.keys import new_key, toml_of
from outthink.gateway.metrics import MEASURES
from outthink.gateway.settings import ServerConfig

yaml = pytest.importorskip("yaml", reason="needs PyYAML")

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/gateway.json").read_text(encoding="utf-8"))
MANIFESTS = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
}
ALERTS = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
DRAIN = ServerConfig().drain_seconds


def run(*command: str, cwd: Path = DEPLOY, **more):
    """A linter's verdict; skips where there is none."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


# -- what is asked of Prometheus -----------------------------------------------------------------


def panels():
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def plain(expression: str) -> str:
    """A query of the dashboard without its variables."""
    return expression.replace("$__rate_interval", "5m").replace("$model", ".*")


QUERIES = [(p["title"], plain(t["expr"])) for p in panels() for t in p["targets"]]
QUERIES += [(rule["alert"], rule["expr"]) for rule in ALERTS]
SERIES = {
    measure.name + suffix: {*measure.labels, *(["le"] if suffix == "_bucket" else [])}
    for measure in MEASURES
    for suffix in (("_bucket", "_count", "_sum") if measure.kind == "histogram" else ("",))
}


@pytest.mark.parametrize(("title", "query"), QUERIES)
def test_every_query_asks_for_what_the_gateway_counts(title, query):
    asked = re.findall(r"\boutthink_\w+(?!\w*\")", re.sub(r'"[^"]*"', '""', query))
    assert asked or "up{" in query
    for name in asked:
        assert name in SERIES, f"{title}: no metric {name}"
    known = set().union(*(SERIES[name] for name in asked)) | {"job"}
    named = re.findall(r"(?:by|without|on) \(([^)]*)\)", query)
    labels = [label.strip() for group in named for label in group.split(",")]
    labels += re.findall(r"(\w+)\s*(?:=~|!~|!=|=(?!=))\s*\"", query)
    assert set(labels) <= known, f"{title}: {set(labels) - known} are labels of none of {asked}"
    for name in asked:
        if name.endswith(("_total", "_bucket", "_count", "_sum")):
            grown = re.search(rf"(?:rate|increase)\({name}(?:\{{[^}}]*\}})?\[", query)
            assert grown, f"{title}: {name} only grows: ask for its rate"


def test_alerts_name_reasons_that_there_are():
    source = " ".join(path.read_text() for path in (ROOT / "outthink/gateway").glob("*.py"))
    reasons = re.findall(r'reason="(\w+)"', " ".join(rule["expr"] for rule in ALERTS))
    assert reasons
    for reason in reasons:
        assert f'code="{reason}"' in source


def test_the_dashboard_shows_what_there_is():
    shown = " ".join(query for _, query in QUERIES)
    for measure in MEASURES:
        if measure.name != "outthink_build_info":
            assert measure.name in shown, f"{measure.name} is on no panel and in no alert"


def test_the_dashboard_is_well_formed():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    cells = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert 0 <= place["x"] <= place["x"] + place["w"] <= 24
        mine = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not mine & cells, f"{panel['title']} lies on another panel"
        cells |= mine
    variables = {v["name"]: v for v in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    for panel in panels():
        assert panel["type"] in ("timeseries", "stat")
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["fieldConfig"]["defaults"]["unit"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) > 0
        for target in panel["targets"]:
            used = set(re.findall(r"\$(\w+)", target["expr"])) - {"__rate_interval"}
            assert used <= set(variables)


def test_grafana_finds_its_source_and_its_dashboard():
    provisioning = DEPLOY / "grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards/outthink.yaml").read_text())[
        "providers"
    ]
    mounts = dict(volume.split(":")[:2] for volume in compose["grafana"]["volumes"])
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    home = compose["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == provider["options"]["path"] + "/gateway.json"


def test_promtool_takes_the_configuration_and_the_alerts():
    told = run("promtool", "check", "config", "prometheus/prometheus.yml")
    assert f"{len(ALERTS)} rules found" in told


def test_promtool_takes_every_query_of_the_dashboard(tmp_path):
    rules = [{"record": f"query:{i}", "expr": query} for i, (_, query) in enumerate(QUERIES)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    run("promtool", "check", "rules", str(file))


def test_alerts_fire_when_they_should_and_not_else(tmp_path):
    def case(series, alert, fires, at="15m", interval="1m"):
        expected = [{"exp_labels": fires[0], "exp_annotations": fires[1]}] if fires else []
        return {
            "interval": interval,
            "input_series": [{"series": s, "values": v} for s, v in series.items()],
            "alert_rule_test": [{"eval_time": at, "alertname": alert, "exp_alerts": expected}],
        }

    def requests(failed):
        good, bad = (f'outthink_requests_total{{status="{s}"}}' for s in (200, 500))
        return {good: f"0+{100 - failed}x20", bad: f"0+{failed}x20"}

    page, ticket = {"severity": "page"}, {"severity": "ticket"}
    host, key = {"host": "10.0.0.1:8000"}, {"key": "team-a"}
    breaker = 'outthink_upstream_open{host="10.0.0.1:8000"}'

    def allowance(limit):
        spent = 'outthink_key_tokens_total{key="team-a"}'
        bound = 'outthink_key_limit{key="team-a",limit="tokens_per_day"}'
        return {spent: "0+3000x60", bound: f"{limit}x60"}

    day = ("1440m", "30m")
    shut = {"summary": "10.0.0.1:8000 fails: no requests go there"}
    near = {"summary": "the key team-a has used 96% of its tokens of a day"}
    tests = [
        case(requests(2), "GatewayErrors", None),
        case(requests(10), "GatewayErrors", (page, {"summary": "10% of requests fail"})),
        case({breaker: "0x20"}, "UpstreamOpen", None),
        case({breaker: "1x20"}, "UpstreamOpen", (page | host, shut)),
        case(allowance(200_000), "KeyNearItsDay", None, *day),
        case(allowance(150_000), "KeyNearItsDay", (ticket | key, near), *day),
    ]  # fmt: skip
    file = tmp_path / "tests.yml"
    rules = str(DEPLOY / "prometheus/alerts.yml")
    file.write_text(yaml.safe_dump({"rule_files": [rules], "tests": tests}))
    run("promtool", "test", "rules", str(file))


# -- settings ------------------------------------------------------------------------------------


def test_the_settings_of_compose_want_a_key_and_no_more():
    text = (DEPLOY / "compose.toml").read_text(encoding="utf-8")
    with pytest.raises(SpecError, match="new-key"):
        read_text(text, "compose.toml")
    _, key = new_key("me")
    config = read_text(f"{text}\n{toml_of(key)}", "compose.toml")
    assert config.aliases["fly-careful"].strategy == "self_consistency(n=8)"


def manifest_settings():
    return read_text(MANIFESTS["configmap"]["data"]["gateway.toml"], "configmap")


def test_the_settings_of_the_manifests_are_read():
    assert manifest_settings().server.host == "0.0.0.0"


# -- Docker --------------------------------------------------------------------------------------


def dockerfile():
    """Instructions of each stage."""
    text = re.sub(r"\\\n", " ", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"))
    stages: list[list[tuple[str, str]]] = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            word, _, rest = line.strip().partition(" ")
            if word == "FROM":
                stages.append([])
            stages[-1].append((word, rest.strip()))
    return stages


def test_the_image_holds_no_tools_and_runs_as_nobody_special():
    build, last = dockerfile()
    assert {dict(stage)["FROM"].split()[0] for stage in (build, last)} == {"python:3.12-slim"}
    commands = " ".join(rest for word, rest in last if word == "RUN")
    assert not re.search(r"\b(pip|apt|apt-get|gcc|curl|wget)\b", commands)
    words = dict(last)
    assert words["USER"] == "10001"
    assert words["EXPOSE"] == str(ServerConfig().port)
    entry = json.loads(words["ENTRYPOINT"])
    assert entry == ["outthink", "serve", "--config", "/etc/outthink/gateway.toml"]
    check = json.loads(words["HEALTHCHECK"].partition("CMD ")[2])
    assert check[:2] == ["python", "-c"]
    compile(check[2], "HEALTHCHECK", "exec")
    assert f"127.0.0.1:{ServerConfig().port}/healthz" in check[2]


def test_the_build_has_the_files_and_the_extras_that_it_names():
    build, _ = dockerfile()
    allowed = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {s for word, rest in build if word == "COPY" for s in shlex.split(rest)[:-1]}
    assert {c.removeprefix("./") for c in copied} == allowed
    assert all((ROOT / name).exists() for name in allowed)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = re.search(r"\.whl\)\[([^]]*)\]", " ".join(rest for _, rest in build))
    assert named
    assert set(named[1].split(",")) <= set(project["optional-dependencies"])
    image = MANIFESTS["deployment"]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == f"outthink-gateway:{project['version']}"


def test_hadolint_takes_the_dockerfile():
    run("hadolint", "Dockerfile")


def compose():
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]


def test_compose_is_for_this_machine_and_holds_no_secret():
    for name, service in compose().items():
        assert "image" in service
        assert name == "gateway" or ":" in service["image"]
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:")
        for source in (volume.split(":")[0] for volume in service.get("volumes", ())):
            assert not source.startswith(".") or (DEPLOY / source).exists(), source
        for variable, value in service.get("environment", {}).items():
            secret = re.search("PASSWORD|KEY|STORE", variable)
            assert not secret or "${" in value, f"{name}: {variable} stands in the file"
    gateway = compose()["gateway"]
    assert float(gateway["stop_grace_period"].removesuffix("s")) > DRAIN
    assert gateway["read_only"]
    assert gateway["cap_drop"] == ["ALL"]
    assert gateway["ulimits"]["core"] == 0
    assert gateway["depends_on"]["postgres"]["condition"] == "service_healthy"


def test_docker_compose_takes_the_file():
    plugin = (
        shutil.which("docker")
        and not subprocess.run(
            ["docker", "compose", "version"], capture_output=True, check=False
        ).returncode
    )
    command = ["docker", "compose"] if plugin else ["docker-compose"]
    environment = {"POSTGRES_PASSWORD": "x", "PATH": "/usr/local/bin:/usr/bin:/bin"}
    if found := shutil.which(command[0]):
        command[0] = found
    run(*command, "--file", "compose.yaml", "config", "--quiet", env=environment)


# -- Kubernetes ----------------------------------------------------------------------------------


def pod():
    return MANIFESTS["deployment"]["spec"]["template"]["spec"]


def test_manifests_mean_the_same_pods():
    labels = MANIFESTS["deployment"]["spec"]["template"]["metadata"]["labels"]
    assert MANIFESTS["service"]["spec"]["selector"] == labels
    assert MANIFESTS["disruption"]["spec"]["selector"]["matchLabels"] == labels
    assert MANIFESTS["network"]["spec"]["podSelector"]["matchLabels"] == labels
    assert MANIFESTS["autoscaler"]["spec"]["scaleTargetRef"]["name"] == "outthink-gateway"
    assert "replicas" not in MANIFESTS["deployment"]["spec"]
    (container,) = pod()["containers"]
    (port,) = container["ports"]
    assert port == {"name": "http", "containerPort": manifest_settings().server.port}
    assert MANIFESTS["service"]["spec"]["ports"][0]["targetPort"] == "http"
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    assert {m["name"] for m in container["volumeMounts"]} == set(volumes)
    assert volumes["config"]["configMap"]["name"] == MANIFESTS["configmap"]["metadata"]["name"]
    secret = MANIFESTS["secret.example"]
    assert container["envFrom"] == [{"secretRef": {"name": secret["metadata"]["name"]}}]


def test_a_pod_has_time_to_drain_and_rights_for_nothing():
    (container,) = pod()["containers"]
    pause = float(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod()["terminationGracePeriodSeconds"] > pause + manifest_settings().server.drain_seconds
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert pod()["securityContext"]["runAsNonRoot"]
    assert str(pod()["securityContext"]["runAsUser"]) == dict(dockerfile()[-1])["USER"]
    assert not pod()["automountServiceAccountToken"]
    rights = container["securityContext"]
    assert rights["readOnlyRootFilesystem"]
    assert not rights["allowPrivilegeEscalation"]
    assert rights["capabilities"]["drop"] == ["ALL"]
    # what it writes: the numbers of its workers
    assert "/tmp" in [m["mountPath"] for m in container["volumeMounts"]]
    assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_keeps_to_the_schema_of_kubernetes(name):
    library = pytest.importorskip(
        "kubernetes_validate", reason="needs kubernetes-validate: pip install kubernetes-validate"
    )
    library.validate(MANIFESTS[name], library.latest_version(), strict=True)


# -- systemd -------------------------------------------------------------------------------------

UNIT = DEPLOY / "systemd/outthink-gateway.service"


def unit():
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    pairs = [line.split("=", 1) for line in lines if "=" in line and not line.startswith("#")]
    return {name: [value for held, value in pairs if held == name] for name, _ in pairs}


def test_the_unit_drains_reloads_and_is_shut_in():
    told = unit()
    assert float(told["TimeoutStopSec"][0]) > DRAIN
    assert told["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert told["DynamicUser"] == told["NoNewPrivileges"] == ["yes"]
    assert told["ProtectSystem"] == ["strict"]
    assert told["LimitCORE"] == ["0"]
    assert told["StateDirectory"][0] in "".join(told["Environment"])


@pytest.fixture
def unit_here(tmp_path):
    """The unit with a program that is on this machine."""
    file = tmp_path / UNIT.name
    file.write_text(UNIT.read_text().replace("/opt/outthink/bin/outthink", shutil.which("true")))
    return str(file)


def test_systemd_takes_the_unit(unit_here):
    assert not run("systemd-analyze", "verify", unit_here).strip()


def test_systemd_finds_the_unit_safe(unit_here):
    told = run("systemd-analyze", "security", "--offline=yes", "--no-pager", unit_here)
    exposure = re.search(r"exposure level for \S+: ([\d.]+)", told)
    assert exposure
    assert float(exposure[1]) < 2
