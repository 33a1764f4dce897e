"""Core modules, written by hand, that give their rows back and do harm where a row has a mark."""

from __future__ import annotations

from wasmtime import wat2wasm

IMPORTS = """
  (import "dataflare:plugin/host@1.0.0" "log" (func $log (param i32 i32 i32)))
  (import "dataflare:plugin/host@1.0.0" "metric" (func $metric (param i32 i32 f64)))
  (import "dataflare:plugin/host@1.0.0" "now" (func $now (result i64)))
  (import "dataflare:plugin/host@1.0.0" "get-state" (func $get (param i32 i32 i32)))
  (import "dataflare:plugin/host@1.0.0" "set-state" (func $set (param i32 i32 i32 i32 i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
"""
MEMORY = """
  (memory (export "memory") 4)
  (global $top (mut i32) (i32.const 65536))
  (table $table 1 funcref)
  (func $loop (loop $again (br $again)))
  (func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))
  (func $word (param i32 i32) (i32.store (local.get 0) (local.get 1)))
  (func $marked (param $at i32) (param $size i32) (result i32)
    (local $end i32)
    (local.set $end (i32.add (local.get $at) (local.get $size)))
    (block $no (loop $next
      (br_if $no (i32.ge_u (local.get $at) (local.get $end)))
      (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 33)) (then (return (i32.const 1))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next)))
    (i32.const 0))
  (func $kept (param $rows i32) (param $at i32) (param $size i32) (result i32)
    (call $word (i32.const 1024) (i32.const 0))
    (call $word (i32.const 1028) (i32.const 1104))
    (call $word (i32.const 1032) (i32.const 1))
    (call $word (i32.const 1036) (i32.const 0))
    (call $word (i32.const 1040) (i32.const 0))
    (call $word (i32.const 1104) (i32.const 0))
    (call $word (i32.const 1108) (i32.const 0))
    (call $word (i32.const 1112) (local.get $rows))
    (call $word (i32.const 1116) (local.get $at))
    (call $word (i32.const 1120) (local.get $size))
    (call $word (i32.const 1124) (i32.const 0))
    (global.set $top (i32.const 65536))
    (i32.const 1024))
"""
BODIES = {
    "cabi_realloc": (
        "(param i32 i32 i32 i32) (result i32)",
        "(global.get $top) (global.set $top (i32.add (global.get $top) (local.get 3)))",
    ),
    "lifecycle@1.0.0#describe": ("(result i32)", "(i32.const 512)"),
    "lifecycle@1.0.0#open": ("(param i32 i32) (result i32)", "(i32.const 512)"),
    "lifecycle@1.0.0#close": ("", ""),
    "lifecycle@1.0.0#export-state": ("(result i32)", "(i32.const 512)"),
    "lifecycle@1.0.0#import-state": ("(param i32 i32) (result i32)", "(i32.const 512)"),
    "processor@1.0.0#process": ("(param i32 i32) (result i32)", "(i32.const 512)"),
    "processor@1.0.0#process-batch": ("(param i32 i32 i32 i32) (result i32)", ""),
}
"""Bytes from 512 to 1024 are zero, which is the first case of everything, and empty."""


def words(*values: tuple[int, int]) -> str:
    """Return what stores numbers of 32 bits at places."""
    return " ".join(f"(call $word (i32.const {at}) (i32.const {value}))" for at, value in values)


def hostile(harm: str = "", more: str = "", memory: str = MEMORY, **bodies: str) -> bytes:
    """Return a module that does harm in the place of answering where a row has a mark.

    `harm` leaves a place on the stack, as the answer; `bodies` are of other functions, by the last part of their names.
    """
    answer = "(call $kept (local.get 1) (local.get 2) (local.get 3))"
    judged = f"(if (call $marked (local.get 2) (local.get 3)) (then {harm} (return)))" if harm else ""
    given = {"process_batch": f"{judged} {answer}"} | bodies
    functions = []
    for name, (kind, body) in BODIES.items():
        full = name if "#" not in name else f"dataflare:plugin/{name}"
        functions.append(
            f'(func (export "{full}") {kind} {given.get(name.rpartition("#")[2].replace("-", "_"), body)})'
        )
    return bytes(wat2wasm(f"(module {IMPORTS} {memory} {more} {' '.join(functions)})"))
