"""The types of the functions that a component exports, as texts; `dataflare.wit` tells the same in its own words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_ERROR = "variant{bad-record:string,transient:string,fatal:string}"
_FORMAT = "enum{json-lines,json-columns}"
_OUTPUT = "record{name:string,columns:option<list<record{name:string,kind:string}>>,adds:bool}"
_INFO = (
    "record{name:string,version:string,config-schema:string,stateful:bool,input:option<list<string>>,"
    f"format:{_FORMAT},outputs:list<{_OUTPUT}>}}"
)
_OUTCOME = "variant{keep:string,drop:_,many:list<string>,route:list<record{output:string,value:string}>}"
_PARTS = "list<record{output:string,rows:u32,data:string,sources:option<list<u32>>}>"
_MADE = f"record{{parts:{_PARTS},errors:list<record{{row:u32,message:string}}>}}"

SHAPES: Mapping[str, str] = {
    "describe": f"()->{_INFO}",
    "open": f"(string)->result<_,{_ERROR}>",
    "close": "()->_",
    "export-state": "()->string",
    "import-state": f"(string)->result<_,{_ERROR}>",
    "process": f"(string)->result<{_OUTCOME},{_ERROR}>",
    "process-batch": f"(record{{format:{_FORMAT},rows:u32,data:string}})->result<{_MADE},{_ERROR}>",
}
"""By the name of the function."""

__all__ = ["SHAPES"]
