"""Plugins in Rust: the page's example is compiled as it says; what goes wrong is told and contained."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.integration.plugin.golden.languages import RUST, rustc_folder, tools
from tests.integration.plugin.golden.suite import Golden
from tests.integration.plugin.pages import ROWS, example

from dataflare.plugin.failures import TrappedError
from dataflare.plugin.host import QuietHost
from dataflare.plugin.program import Settings

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = """
#[path = "dataflare.rs"]
mod dataflare;
use dataflare::{Error, Info, Json, Out, Plugin, Verdict};

struct Hostile;

impl Plugin for Hostile {
    const INFO: Info = Info { name: "hostile", version: "1", ..Info::NEW };

    fn open(_: Json) -> Result<Self, Error> {
        Ok(Hostile)
    }

    fn process(&mut self, record: Json, out: &mut Out) -> Result<Verdict, Error> {
        let number = record.integer("place").ok_or("no place")? as usize;
        match &*record.text("does").unwrap_or_default() {
            "text" => {
                let bytes = unsafe { std::slice::from_raw_parts(number as *const u8, 9) };
                out.raw(unsafe { std::str::from_utf8_unchecked(bytes) })
            }
            "write" => unsafe { (number as *mut u64).write_volatile(7) },
            "index" => out.value([1i64, 2, 3][number]),
            "divide" => out.value(7 / record.integer("by").unwrap_or(0)),
            "output" => out.emit("no such"),
            "error" => return Err(Error::Bad(unsafe { String::from_utf8_unchecked(vec![0xC0, 0x80]) })),
            _ => out.copy(record),
        }
        Ok(Verdict::Keep)
    }
}

dataflare::export!(Hostile);
"""
WILD = """
#[unsafe(no_mangle)]
extern "C" fn cabi_realloc(_: u32, _: u32, _: u32, size: u32) -> *mut u8 {
    vec![0u8; size as usize].leak().as_mut_ptr()
}
#[unsafe(export_name = "dataflare:plugin/lifecycle@1.0.0#describe")]
extern "C" fn describe() -> u32 { u32::MAX - 8 }
#[unsafe(export_name = "dataflare:plugin/lifecycle@1.0.0#open")]
extern "C" fn open(_: u32, _: u32) -> *const [u32; 4] { &[0; 4] }
#[unsafe(export_name = "dataflare:plugin/lifecycle@1.0.0#close")]
extern "C" fn close() {}
#[unsafe(export_name = "dataflare:plugin/lifecycle@1.0.0#export-state")]
extern "C" fn export_state() -> *const [u32; 2] { &[0x7000_0000, 9] }
#[unsafe(export_name = "dataflare:plugin/lifecycle@1.0.0#import-state")]
extern "C" fn import_state(_: u32, _: u32) -> u32 { 0x7000_0000 }
#[unsafe(export_name = "dataflare:plugin/processor@1.0.0#process")]
extern "C" fn process(_: u32, _: u32) -> *const [u32; 4] { &[0, 0, 1024, u32::MAX] }
#[unsafe(export_name = "dataflare:plugin/processor@1.0.0#process-batch")]
extern "C" fn process_batch(_: u32, _: u32, _: u32, _: u32) -> *const [u32; 5] { &[0, 1024, 0x1000_0000, 0, 0] }
"""


def test_the_example_of_the_page_runs(tmp_path: Path) -> None:
    environ = {**tools(), "PATH": os.pathsep.join([rustc_folder(), tools()["PATH"]])}
    assert example("plugins-in-rust.md", "rust", tmp_path, environ) == ROWS


def test_what_a_careless_author_does_is_told_and_ends_with_its_call(tmp_path: Path) -> None:
    golden, host = Golden(RUST.built(tmp_path, HOSTILE), RUST.limits), QuietHost()
    instance = golden.opened(host)
    beyond = 0x7FFFFF00
    for does, place, error, logged in (
        ("text", beyond, "beyond its memory", ""),
        ("write", beyond, "beyond its memory", ""),
        ("error", 0, "no Unicode text", ""),
        ("index", 9, "gave up", "index out of bounds: the len is 3 but the index is 9"),
        ("divide", 0, "gave up", "attempt to divide by zero"),
        ("output", 0, "gave up", "the plugin has no output no such"),
    ):
        host.said.clear()
        with pytest.raises(TrappedError, match=error):
            instance.call("process", f'{{"does":"{does}","place":{place}}}')
        assert [(level, logged in text, ".rs:" in text) for level, text in host.said] == [("error", True, True)] * bool(
            logged
        )
        assert instance.call("process", '{"place":1}') == ("keep", '{"place":1}')
    instance.close()


def test_places_beyond_the_memory_are_not_believed(tmp_path: Path) -> None:
    golden = Golden(RUST.built(tmp_path, WILD), RUST.limits)
    with golden.program.engine.ticking():
        for call in (
            ("describe",),
            ("export-state",),
            ("import-state", "1"),
            ("process", "{}"),
            ("process-batch", ("json-lines", 1, "{}")),
        ):
            instance = golden.program.opened(Settings(), QuietHost(), golden.limits)
            with pytest.raises(TrappedError, match="beyond its memory"):
                instance.call(*call)
