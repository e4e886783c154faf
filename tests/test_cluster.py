"""Workers that end, hang, or are not fit: the map is the same, or one line says why not."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from clusters import Hungry, Poison, cluster, listening, start_worker, worker_processes
from distributed import Client
from distributed.chaos import KillWorker
from scenes import landscape, random_model, write_scene

import geop2p
from geop2p.errors import ClusterError, OptionError, OutOfMemoryError
from geop2p.pipelines import connection
from geop2p.pipelines import crew as crews
from geop2p.pipelines.connection import checked_address, choose_security, connected
from geop2p.pipelines.inspection import FileSight, needs_of
from geop2p.pipelines.request import Request

HERE = Path(__file__).parent
ON_PATH = {"PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
SMALL = {"strip_rows": 1, "threads": 1}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return random_model(tmp_path_factory.mktemp("model") / "random.safetensors")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Ten strips of one row of tiles."""
    return write_scene(tmp_path_factory.mktemp("scene") / "scene.tif", landscape(3, 1900, 300))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, scene, model):
    out = tmp_path_factory.mktemp("undisturbed") / "map.tif"
    return geop2p.translate(scene, out, model=model, **SMALL).sha256


class Once:
    """A callback of progress that does something after the first strip."""

    def __init__(self, action):
        self._action = action
        self.found = None

    def __call__(self, progress):
        if self._action is not None and progress.stage == "translate":
            action, self._action = self._action, None
            self.found = action()


@pytest.mark.parametrize(
    "address", ["foo", "", "tcp://", "tcp://host", "ucx://a:1", "tcp://a:99999"]
)
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(OptionError, match="expected tcp://HOST:PORT"):
        checked_address(address)


def test_an_address_needs_no_protocol():
    assert checked_address("127.0.0.1:8786") == "tcp://127.0.0.1:8786"
    assert checked_address("tls://[::1]:8786") == "tls://[::1]:8786"


@pytest.mark.parametrize(
    "options",
    [
        {"workers": 2, "scheduler": "tcp://127.0.0.1:8786"},
        {"tls_ca": "ca.pem"},
        {"worker_timeout": 0},
    ],
)
def test_options_that_contradict_each_other_are_refused(options):
    with pytest.raises(OptionError):
        Request(scene="scene.tif", out=Path("map.tif"), **options)


def request_with(folder, **files):
    paths = {f"tls_{name}": folder / file for name, file in files.items()}
    return Request(scene="s.tif", out=Path("m.tif"), scheduler="tls://127.0.0.1:1", **paths)


def test_certificates_that_are_lacking_missing_or_none_are_named(tmp_path):
    (tmp_path / "text.pem").write_text("no certificate")
    for files, expected in [
        ({}, "needs --tls-ca and --tls-cert and --tls-key"),
        ({"ca": "text.pem", "cert": "no.pem", "key": "text.pem"}, r"no\.pem: no such file"),
        ({"ca": "text.pem", "cert": "text.pem", "key": "text.pem"}, "check --tls-ca"),
    ]:
        with pytest.raises(OptionError, match=expected):
            choose_security(request_with(tmp_path, **files), "tls://127.0.0.1:1")


def test_certificates_are_not_for_an_open_protocol(tmp_path):
    with pytest.raises(OptionError, match="are for a tls:// scheduler"):
        choose_security(request_with(tmp_path, ca="ca.pem"), "tcp://127.0.0.1:1")


@pytest.mark.parametrize(("host", "warnings"), [("192.0.2.1", 1), ("127.0.0.1", 0)])
def test_an_open_connection_to_another_host_is_warned_of(monkeypatch, caplog, host, warnings):
    monkeypatch.setattr(connection, "CONNECT_S", 0.2)
    request = Request(scene="s.tif", out=Path("m.tif"), scheduler=f"tcp://{host}:1")
    with pytest.raises(OptionError, match="no Dask scheduler answers"), connected(request):
        pass
    assert caplog.text.count("is not encrypted") == warnings


def test_what_a_worker_needs_is_what_is_here(tmp_path, scene, model):
    needs = needs_of(device="cpu", scene=str(scene), model=str(model))
    assert set(needs.versions) == {
        *("python", "geop2p", "distributed", "numpy", "rasterio", "torch")
    }
    assert needs.files["model"] == FileSight(
        path=str(model),
        size=model.stat().st_size,
        hashed=model.stat().st_size,
        sha256=needs.files["model"].sha256,
    )


def test_a_killed_worker_changes_no_byte_and_nothing_listens_outside(
    tmp_path, scene, model, undisturbed
):
    def harm():
        worker = worker_processes()[0]
        environment = worker.environ()
        worker.kill()
        return listening(), environment

    harmed = Once(harm)
    report = geop2p.translate(
        scene, tmp_path / "map.tif", model=model, workers=2, on_progress=harmed, **SMALL
    )
    addresses, environment = harmed.found
    assert report.sha256 == undisturbed
    assert addresses <= {"127.0.0.1", "::1"}
    assert worker_processes() == []
    assert environment["MALLOC_ARENA_MAX"] == "1"
    assert "MALLOC_TRIM_THRESHOLD_" not in environment  # it would cost a tenth of the time


@pytest.mark.slow
def test_rows_that_were_sent_to_a_killed_worker_are_sent_again(tmp_path, model):
    path = write_scene(tmp_path / "scene.png", landscape(3, 1900, 300), driver="PNG")
    first = geop2p.translate(path, tmp_path / "1.tif", model=model, **SMALL)

    def harm():
        worker_processes()[0].kill()

    second = geop2p.translate(
        path, tmp_path / "2.tif", model=model, workers=2, on_progress=Once(harm), **SMALL
    )
    assert first.sha256 == second.sha256


@pytest.mark.slow
def test_errors_keep_their_class_on_the_way_back(tmp_path, scene):
    with pytest.raises(OutOfMemoryError, match="no memory for a group of tiles"):
        geop2p.translate(scene, tmp_path / "map.tif", generator=Hungry(0), workers=1)


@pytest.mark.slow
def test_a_stopped_worker_is_given_up_and_killed(tmp_path, scene, model, undisturbed, caplog):
    stopped = []

    def harm():
        stopped.append(worker_processes()[0])
        stopped[0].suspend()

    report = geop2p.translate(
        scene,
        tmp_path / "map.tif",
        model=model,
        workers=2,
        worker_timeout=10,
        on_progress=Once(harm),
        **SMALL,
    )
    assert report.sha256 == undisturbed
    assert "hangs: it is given up" in caplog.text
    assert not stopped[0].is_running()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_strip_that_ends_its_workers_is_named_and_no_other(tmp_path, workers):
    pixels = landscape(3, 1900, 300) | 1
    pixels[:, 600:1100] = 0
    path = write_scene(tmp_path / "scene.tif", pixels)
    seen = []
    with pytest.raises(ClusterError) as caught:
        geop2p.translate(
            path,
            tmp_path / "map.tif",
            generator=Poison(),
            workers=workers,
            on_progress=lambda progress: seen.append(progress.done),
            strip_rows=2,
        )
    assert "raster rows 768 to 1151: 3 workers" in str(caught.value)
    assert "all other strips are finished" in str(caught.value)
    assert len(seen) == 4
    assert worker_processes() == []


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sys.exit", "graceful", "segfault"])
def test_chaos_changes_no_byte(tmp_path, scene, model, undisturbed, mode):
    with (
        cluster(tmp_path, workers=2, environment=ON_PATH) as (address, processes),
        Client(address, set_as_default=False) as client,
    ):
        client.wait_for_workers(2, timeout=60)

        def harm():
            client.register_plugin(KillWorker(delay="500 ms", mode=mode), name="chaos")
            # those that take their place are spared
            client.run_on_scheduler(
                lambda dask_scheduler: dask_scheduler.worker_plugins.pop("chaos") and None
            )
            # a nanny may take sys.exit for a wish to close, and then starts no other worker
            processes.append(start_worker(tmp_path, address, name="third", environment=ON_PATH))

        report = geop2p.translate(
            scene,
            tmp_path / "map.tif",
            model=model,
            scheduler=address,
            on_progress=Once(harm),
            **SMALL,
        )
    assert report.sha256 == undisturbed


@pytest.mark.slow
def test_a_lost_scheduler_is_one_line_and_the_same_command_goes_on(
    tmp_path, scene, model, undisturbed
):
    out = tmp_path / "map.tif"
    with cluster(tmp_path) as (address, processes):
        harm = Once(processes[0].kill)
        with pytest.raises(ClusterError, match="the scheduler is lost") as caught:
            geop2p.translate(scene, out, model=model, scheduler=address, on_progress=harm, **SMALL)
    assert "\n" not in str(caught.value)
    report = geop2p.translate(scene, out, model=model, **SMALL)
    assert report.strips_resumed > 0
    assert report.sha256 == undisturbed


@pytest.mark.slow
def test_workers_that_are_not_fit_are_named_before_work_starts(tmp_path, scene, model, monkeypatch):
    fake = tmp_path / "fake" / "rasterio-0.1.dist-info"
    fake.mkdir(parents=True)
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: rasterio\nVersion: 0.1\n")
    old = {"PYTHONPATH": os.pathsep.join([str(fake.parent), ON_PATH["PYTHONPATH"]])}
    with cluster(tmp_path, workers=0) as (address, processes):
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        processes.append(start_worker(tmp_path, address, name="old", environment=old))
        processes.append(start_worker(elsewhere, address, name="blind"))
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        shutil.copy(scene, tmp_path / "scene.tif")
        monkeypatch.chdir(tmp_path)
        seen = []
        with pytest.raises(ClusterError) as caught:
            geop2p.translate(
                "/proc/self/cwd/scene.tif",
                tmp_path / "map.tif",
                model=model,
                scheduler=address,
                on_progress=seen.append,
            )
    assert "worker old: rasterio 0.1 (expected " in str(caught.value)
    assert "worker blind: cannot read the scene /proc/self/cwd/scene.tif" in str(caught.value)
    assert seen == []


@pytest.mark.slow
def test_a_cluster_without_workers_is_said(tmp_path, scene, model, monkeypatch):
    monkeypatch.setattr(crews, "ANSWER_S", 2)
    with (
        cluster(tmp_path, workers=0) as (address, _),
        pytest.raises(ClusterError, match="no worker within 2 s"),
    ):
        geop2p.translate(scene, tmp_path / "map.tif", model=model, scheduler=address)


def make_certificates(folder):
    """Write an authority and a certificate of it, as people make them with openssl."""

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ["-newkey", "rsa:2048", "-nodes", "-days", "2"]
    openssl("req", "-x509", *new, "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *new[:3], "-subj", "/CN=geop2p", "-keyout", "key.pem", "-out", "request.pem")
    signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"]
    openssl("x509", "-req", "-in", "request.pem", *signing, "-out", "cert.pem")
    return {f"tls_{name}": folder / f"{name}.pem" for name in ("ca", "cert", "key")}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
def test_a_tls_cluster_is_used_with_certificates_and_not_without(tmp_path, scene, model):
    tls = make_certificates(tmp_path)
    security = ["--tls-ca-file", tls["tls_ca"], "--tls-cert", tls["tls_cert"]]
    options = [*security, "--tls-key", tls["tls_key"]]
    out = tmp_path / "map.tif"
    with cluster(tmp_path, protocol="tls", options=options) as (address, _):
        assert address.startswith("tls://")
        geop2p.translate(scene, out, model=model, scheduler=address, **tls)
        with pytest.raises(OptionError, match="needs --tls-ca"):
            geop2p.translate(scene, tmp_path / "2.tif", model=model, scheduler=address)
        other = tmp_path / "other"
        other.mkdir()
        foreign = make_certificates(other)
        with pytest.raises(OptionError, match="no Dask scheduler answers"):
            geop2p.translate(scene, tmp_path / "3.tif", model=model, scheduler=address, **foreign)
    assert out.exists()


PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
import geop2p
{guard}geop2p.translate({scene!r}, {out!r}, model={model!r}, workers=2, strip_rows=1, threads=1,
    {more})
"""


def write_program(folder, scene, model, *, guard="", more=""):
    names = {"scene": str(scene), "model": str(model), "out": str(folder / "map.tif")}
    program = folder / "program.py"
    program.write_text(PROGRAM.format(tests=str(HERE), guard=guard, more=more, **names))
    return program


@pytest.mark.slow
def test_a_program_without_a_guard_is_told_so(tmp_path, scene, model):
    program = write_program(tmp_path, scene, model)
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1  # this process's own
    assert 'if __name__ == "__main__"' in done.stderr.splitlines()[-1]


def wait_until(is_true, *, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if is_true():
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
def test_no_worker_outlives_a_killed_client_not_even_a_stopped_one(tmp_path, scene, model):
    guard = "import clusters\nif __name__ == '__main__': "
    started = tmp_path / "started"
    more = f"on_progress=lambda _: open({str(started)!r}, 'w').close()"
    program = write_program(tmp_path, scene, model, guard=guard, more=more)
    # a bare function that takes its time: there is work when the client is killed
    text = program.read_text().replace(f"model={str(model)!r}", "generator=clusters.Slow(1)")
    program.write_text(text)
    with subprocess.Popen([sys.executable, program]) as client:
        assert wait_until(started.exists)
        workers = psutil.Process(client.pid).children(recursive=True)
        worker_processes(client.pid)[0].suspend()
        client.send_signal(signal.SIGKILL)
    assert wait_until(lambda: not any(map(is_alive, workers)), seconds=10)


def is_alive(process):
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
