# SPDX-License-Identifier: Apache-2.0
"""Bodies, paths and methods: what every endpoint refuses."""

import json

import pytest

from vmm import IS_FIRECRACKER

mvm_only = pytest.mark.mvm_only

# Every endpoint with a body that is correct as far as it goes without a machine.
BODIES = [
    ("PUT", "/actions", {"action_type": "InstanceStart"}),
    ("PUT", "/balloon", {"amount_mib": 1, "deflate_on_oom": False}),
    ("PATCH", "/balloon", {"amount_mib": 1}),
    ("PATCH", "/balloon/statistics", {"stats_polling_interval_s": 1}),
    ("PUT", "/boot-source", {"kernel_image_path": "/nowhere"}),
    ("PUT", "/drives/a", {"drive_id": "a", "is_root_device": False, "path_on_host": "/nowhere"}),
    ("PATCH", "/drives/a", {"drive_id": "a", "path_on_host": "/nowhere"}),
    ("PUT", "/entropy", {"rate_limiter": None}),
    ("PUT", "/logger", {"level": "Info"}),
    ("PUT", "/machine-config", {"vcpu_count": 1, "mem_size_mib": 128}),
    ("PATCH", "/machine-config", {"vcpu_count": 1}),
    ("PUT", "/mmds/config", {"network_interfaces": ["eth0"]}),
    ("PUT", "/network-interfaces/e", {"iface_id": "e", "host_dev_name": "tap0"}),
    ("PATCH", "/network-interfaces/e", {"iface_id": "e"}),
    ("PUT", "/serial", {"serial_out_path": None}),
    ("PUT", "/snapshot/create", {"snapshot_path": "/s", "mem_file_path": "/m"}),
    ("PUT", "/snapshot/load", {"snapshot_path": "/s", "mem_file_path": "/m"}),
    ("PATCH", "/vm", {"state": "Paused"}),
    ("PUT", "/vsock", {"guest_cid": 3, "uds_path": "/v"}),
]
# Firecracker takes unknown fields of these.
LENIENT = [pytest.param("PUT", "/metrics", {"metrics_path": "/nowhere"}, marks=mvm_only)]

endpoints = pytest.mark.parametrize("method, path, body", BODIES)


@pytest.mark.parametrize("method, path, body", BODIES + LENIENT)
def test_an_unknown_field_is_refused_by_its_name(vmm, method, path, body):
    vmm.refuses(method, path, {**body, "colour": "red"}, "colour")


@endpoints
def test_a_field_that_comes_twice_is_refused(vmm, method, path, body):
    name, value = next(iter(body.items()))
    twice = json.dumps(body)[:-1] + f", {json.dumps(name)}: {json.dumps(value)}}}"
    vmm.refuses(method, path, twice, "duplicate", name)


@endpoints
@pytest.mark.parametrize(
    "text",
    ["{", "not json", '{"a":1', "{'a': 1}", "nul", '"', "{}}", '{"a":1,}', "\ufeff{}", "{}{}"],
)
def test_malformed_json_is_refused(vmm, method, path, body, text):
    vmm.refuses(method, path, text.encode())


@endpoints
@pytest.mark.parametrize("other", ["[]", "7", '"text"', "true", "null"])
def test_a_body_is_an_object(vmm, method, path, body, other):
    if IS_FIRECRACKER and other == "[]" and path in ("/entropy", "/serial", "/logger"):
        pytest.skip("all of its fields may be absent, and Firecracker takes them from an array too")
    vmm.refuses(method, path, other)


@endpoints
def test_a_body_that_is_not_utf8_is_refused(vmm, method, path, body):
    vmm.refuses(method, path, b'{"\xff\xfe": 1}')


@endpoints
def test_a_body_is_needed(vmm, method, path, body):
    vmm.refuses(method, path, None, "empty")


def required(body):
    return [name for name in body if body[name] is not None]


@pytest.mark.parametrize(
    "method, path, body, name",
    [
        (method, path, body, name)
        for method, path, body in BODIES
        for name in required(body)
        if not path.startswith(("/logger", "/snapshot/load"))
        and not (method == "PATCH" and name in ("path_on_host", "vcpu_count"))
    ],
)
def test_a_missing_field_is_named(vmm, method, path, body, name):
    rest = {key: value for key, value in body.items() if key != name}
    if IS_FIRECRACKER and name == "path_on_host":
        vmm.refuses(method, path, rest)  # "invalid block config"
    elif rest or path in ("/actions", "/boot-source", "/balloon", "/vm"):
        vmm.refuses(method, path, rest, name)
    else:
        vmm.refuses(method, path, rest)


@pytest.mark.parametrize(
    "method, path, body, name",
    [(method, path, body, name) for method, path, body in BODIES for name in required(body)],
)
@pytest.mark.parametrize("value", [[["x"]], {"x": 1}], ids=["array", "object"])
def test_a_field_of_another_type_is_refused(vmm, method, path, body, name, value):
    vmm.refuses(method, path, {**body, name: value})


@pytest.mark.parametrize(
    "path", ["/", "/version", "/vm/config", "/machine-config", "/mmds", "/balloon"]
)
def test_a_question_has_no_body(vmm, path):
    vmm.refuses("GET", path, {"a": 1}, "body")


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", "/nothing"),
        ("GET", "/vm"),
        ("GET", "/vsock"),
        ("GET", "/drives/a"),
        ("PUT", "/version"),
        ("PUT", "/nothing"),
        ("PUT", "/snapshot/explode"),
        ("PUT", "/mmds/nothing"),
        ("PATCH", "/boot-source"),
        ("PATCH", "/vsock"),
        ("GET", "/balloon/nothing"),
        ("GET", "/balloon/hinting/nothing"),
    ],
)
def test_an_unknown_path_or_method_is_a_bad_request(vmm, method, path):
    vmm.refuses(method, path, None if method == "GET" else {})


@pytest.mark.parametrize("kind, key", [("drives", "drive_id"), ("network-interfaces", "iface_id")])
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
class TestResourceIds:
    BODY = {
        "drive_id": {"path_on_host": "/nowhere", "is_root_device": False},
        "iface_id": {"host_dev_name": "tap0"},
    }

    def body(self, method, key, name):
        body = {"iface_id": {}, "drive_id": {}}[key] if method == "PATCH" else self.BODY[key]
        return {**body, key: name}

    @pytest.mark.parametrize("name", ["a-b", "a.b", "%2e%2e", "a%20b"])
    def test_only_letters_digits_and_underscores_are_taken(self, vmm, method, kind, key, name):
        vmm.refuses(method, f"/{kind}/{name}", self.body(method, key, name), "underscores")

    def test_the_path_and_the_body_name_the_same(self, vmm, method, kind, key):
        vmm.refuses(method, f"/{kind}/a", self.body(method, key, "b"), "does not match")

    def test_there_must_be_one(self, vmm, method, kind, key):
        vmm.refuses(method, f"/{kind}", self.body(method, key, "a"), "empty")


def test_deeply_nested_json_is_refused(vmm):
    vmm.refuses("PUT", "/mmds", '{"a":' + "[" * 10_000 + "]" * 10_000 + "}")


@mvm_only
@pytest.mark.parametrize(
    "method, path, body",
    [
        ("PUT", "/cpu-config", {}),
        ("PUT", "/pmem/a", {"id": "a", "path_on_host": "/p"}),
        ("PATCH", "/pmem/a", {"id": "a"}),
        ("PUT", "/hotplug/memory", {"total_size_mib": 1024}),
        ("PATCH", "/hotplug/memory", {"requested_size_mib": 0}),
        ("GET", "/hotplug/memory", None),
        ("DELETE", "/drives/a", None),
    ],
)
def test_what_is_not_supported_says_so(vmm, method, path, body):
    vmm.refuses(method, path, body, "not supported")


@pytest.mark.parametrize(
    "path, body",
    [
        ("/machine-config", {"vcpu_count": 1, "mem_size_mib": 128, "cpu_template": "None"}),
        pytest.param("/vsock", {"vsock_id": "v", "guest_cid": 3, "uds_path": "./v.sock"}),
    ],
    ids=["cpu_template", "vsock_id"],
)
def test_a_deprecated_field_is_taken_and_told(vmm, path, body):
    answer = vmm.put(path, body)
    assert answer.status == 204, answer
    assert answer.headers["Deprecation"] == "true"


def test_the_answer_to_a_current_request_has_no_such_header(vmm):
    answer = vmm.put("/machine-config", {"vcpu_count": 1, "mem_size_mib": 128})
    assert answer.headers["Deprecation"] is None
