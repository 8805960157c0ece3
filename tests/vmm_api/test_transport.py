# SPDX-License-Identifier: Apache-2.0
"""HTTP on the API socket: what is asked well and what is not."""

import json
import os
import stat

import pytest

from vmm import IS_FIRECRACKER, Answer, Responses, UnixConnection, read_response

LIMIT = 51200  # bytes of a body, by default


def padded(size):
    """A metadata document of exactly this many bytes."""
    frame = len(json.dumps({"a": ""}))
    return json.dumps({"a": "x" * (size - frame)})


def test_a_connection_is_kept_for_many_requests(vmm):
    connection = UnixConnection(vmm.socket)
    connection.connect()
    first = connection.sock
    for _ in range(20):
        connection.request("GET", "/version")
        answer = Answer(connection.getresponse())
        assert answer.status == 200
        assert answer.headers["Connection"] == "keep-alive"
    assert connection.sock is first
    connection.close()


def test_an_answer_with_data_is_json(vmm):
    answer = vmm.get("/version")
    assert answer.headers["Content-Type"] == "application/json"
    assert int(answer.headers["Content-Length"]) == len(answer.text)


def test_an_answer_without_data_has_neither_body_nor_length(vmm):
    answer = vmm.put("/entropy", {})
    assert answer.status == 204
    assert answer.text == ""
    assert answer.headers["Content-Length"] is None


def test_pipelined_requests_are_answered_in_order(vmm):
    with vmm.raw() as raw:
        raw.sendall(
            b"GET /version HTTP/1.1\r\n\r\n"
            b"GET /machine-config HTTP/1.1\r\n\r\n"
            b"GET / HTTP/1.1\r\n\r\n"
        )
        responses = Responses(raw)
        assert "firecracker_version" in responses.next().json
        assert "vcpu_count" in responses.next().json
        assert "state" in responses.next().json


def test_a_request_may_come_byte_by_byte(vmm):
    body = b'{"vcpu_count":2,"mem_size_mib":256}'
    head = b"PUT /machine-config HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
    with vmm.raw() as raw:
        for byte in head + body:
            raw.send(bytes([byte]))
        assert read_response(raw).status == 204
    assert vmm.ok("GET", "/machine-config")["vcpu_count"] == 2


def test_a_client_may_ask_whether_to_go_on(vmm):
    body = b'{"vcpu_count":2,"mem_size_mib":256}'
    with vmm.raw() as raw:
        raw.sendall(
            b"PUT /machine-config HTTP/1.1\r\nExpect: 100-continue\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        )
        assert raw.recv(4096).startswith(b"HTTP/1.1 100")
        raw.sendall(body)
        assert read_response(raw).status == 204


@pytest.mark.mvm_only
def test_a_body_may_come_in_chunks(vmm):
    with vmm.raw() as raw:
        raw.sendall(
            b"PUT /machine-config HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"10\r\n{\"vcpu_count\":2,\r\n12\r\n\"mem_size_mib\":64}\r\n0\r\n\r\n"
        )
        assert read_response(raw).status == 204


@pytest.mark.mvm_only
def test_a_client_that_has_ended_its_side_gets_its_answer(vmm):
    with vmm.raw() as raw:
        raw.sendall(b"GET /version HTTP/1.1\r\n\r\n")
        raw.shutdown(1)
        assert read_response(raw).status == 200
        assert raw.recv(1) == b""


def test_a_body_of_the_limit_is_taken(vmm):
    assert vmm.put("/mmds", padded(LIMIT)).status == 204


def test_an_oversize_body_is_refused_by_its_size(vmm):
    answer = vmm.request("PUT", "/mmds", padded(LIMIT + 1), fresh=True)
    assert answer.status == 400
    assert f"size {LIMIT + 1} is larger than the limit of {LIMIT}" in answer.json["error"]
    assert vmm.request("GET", "/version", fresh=True).status == 200


def test_an_oversize_body_is_refused_before_it_is_sent(vmm):
    with vmm.raw() as raw:
        raw.sendall(b"PUT /mmds HTTP/1.1\r\nContent-Length: 4000000000\r\n\r\n")
        assert read_response(raw).status == 400


def test_the_limit_is_an_option(launch):
    vmm = launch("--http-api-max-payload-size", 100)
    assert vmm.request("PUT", "/mmds", padded(100), fresh=True).status == 204
    assert vmm.request("PUT", "/mmds", padded(101), fresh=True).status == 400


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"BREW /version HTTP/1.1\r\n\r\n",
        b"GET /version HTTP/3.7\r\n\r\n",
        b"GET /version HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"GET /version HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    ],
    ids=["word", "method-only", "method", "version", "length", "negative-length"],
)
def test_what_is_not_http_is_answered_with_an_error(vmm, bytes_sent):
    with vmm.raw() as raw:
        raw.sendall(bytes_sent)
        answer = read_response(raw)
    assert answer.status == 400
    assert answer.json["error"]
    assert vmm.get("/version").status == 200


def test_endless_headers_are_refused(vmm):
    with vmm.raw() as raw:
        try:
            raw.sendall(b"GET /version HTTP/1.1\r\nX-Long: " + b"x" * 200_000)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert read_response(raw).status == 400
    assert vmm.get("/version").status == 200


def test_slow_clients_do_not_hold_up_others(vmm):
    slow = [vmm.raw() for _ in range(8)]
    for index, raw in enumerate(slow):
        raw.sendall(b"PUT /mmds HTTP/1.1\r\nContent-Length: 7\r\n\r\n"[: 10 + 4 * index])
    for _ in range(20):
        assert vmm.get("/version").status == 200
    for raw in slow:
        raw.close()
    assert vmm.get("/version").status == 200


def test_a_client_that_reads_no_answers_does_not_hold_up_others(vmm):
    with vmm.raw() as raw:
        raw.setblocking(False)
        try:
            for _ in range(20_000):
                raw.send(b"GET /vm/config HTTP/1.1\r\n\r\n")
        except BlockingIOError:
            pass
        assert vmm.get("/version").status == 200


def test_clients_that_leave_in_the_middle_are_forgotten(vmm):
    for _ in range(200):
        with vmm.raw() as raw:
            raw.sendall(b"PUT /mmds HTTP/1.1\r\nContent-Length: 10\r\n\r\n{")
    assert vmm.get("/version").status == 200


def test_fifty_connections_at_once_are_all_answered(vmm):
    connections = [vmm.raw() for _ in range(50)]
    statuses = []
    for raw in connections:
        try:
            raw.sendall(b"GET /version HTTP/1.1\r\n\r\n")
        except BrokenPipeError:
            pass  # turned away already; the answer is there
    for raw in connections:
        statuses.append(read_response(raw).status)
        raw.close()
    # Firecracker serves ten, and says so to the others.
    assert set(statuses) <= ({200, 503} if IS_FIRECRACKER else {200})
    assert statuses[0] == 200
    assert vmm.request("GET", "/version", fresh=True).status == 200


def test_descriptors_do_not_leak_with_connections(vmm):
    def descriptors():
        return len(os.listdir(f"/proc/{vmm.process.pid}/fd"))

    assert vmm.request("GET", "/version", fresh=True).status == 200
    before = descriptors()
    for _ in range(100):
        assert vmm.request("GET", "/version", fresh=True).status == 200
    assert descriptors() <= before + 1


@pytest.mark.mvm_only
def test_the_socket_is_for_its_owner_alone(vmm):
    assert stat.S_IMODE(os.stat(vmm.socket).st_mode) == 0o600
