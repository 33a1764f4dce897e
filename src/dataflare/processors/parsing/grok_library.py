"""The named patterns that grok expressions are made of, under their usual names, for an engine without backtracking."""

from __future__ import annotations

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_HEX = r"[0-9A-Fa-f]"
_MONTHS = (
    "Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sep(?:t(?:ember)?)?"
    "|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?"
)
_DAYS = "Mon(?:day)?|Tue(?:sday)?|Wed(?:nesday)?|Thu(?:rsday)?|Fri(?:day)?|Sat(?:urday)?|Sun(?:day)?"

_TEXTS = {
    "WORD": r"\b\w+\b",
    "NOTSPACE": r"\S+",
    "SPACE": r"\s*",
    "DATA": r".*?",
    "GREEDYDATA": r".*",
    "QUOTEDSTRING": r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`)""",
    "QS": "%{QUOTEDSTRING}",
    "UUID": rf"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}",
    "USERNAME": r"[A-Za-z0-9._-]+",
    "USER": "%{USERNAME}",
    "EMAILLOCALPART": r"[A-Za-z0-9!#$%&'*+/=?^_{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_{|}~-]+)*",
    "EMAILADDRESS": "%{EMAILLOCALPART}@%{HOSTNAME}",
}

_NUMBERS = {
    "INT": r"[+-]?[0-9]+",
    "POSINT": r"\b[1-9][0-9]*\b",
    "NONNEGINT": r"\b[0-9]+\b",
    "BASE10NUM": r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)",
    "NUMBER": "%{BASE10NUM}",
    "BASE16NUM": rf"[+-]?(?:0x)?{_HEX}+",
    "BASE16FLOAT": rf"[+-]?(?:0x)?(?:{_HEX}+(?:\.{_HEX}*)?|\.{_HEX}+)",
    "BOOLEAN": r"\b(?:[Tt]rue|TRUE|[Ff]alse|FALSE)\b",
}

_NETWORK = {
    "MAC": "(?:%{COMMONMAC}|%{CISCOMAC}|%{WINDOWSMAC})",
    "COMMONMAC": rf"(?:{_HEX}{{2}}:){{5}}{_HEX}{{2}}",
    "WINDOWSMAC": rf"(?:{_HEX}{{2}}-){{5}}{_HEX}{{2}}",
    "CISCOMAC": rf"(?:{_HEX}{{4}}\.){{2}}{_HEX}{{4}}",
    "IPV4": rf"\b{_OCTET}(?:\.{_OCTET}){{3}}\b",
    "IPV6": (
        rf"(?:(?:{_HEX}{{1,4}}:){{7}}{_HEX}{{1,4}}"
        rf"|(?:{_HEX}{{1,4}}:){{6}}{_OCTET}(?:\.{_OCTET}){{3}}"
        rf"|(?:{_HEX}{{1,4}}(?::{_HEX}{{1,4}}){{0,6}})?::(?:{_HEX}{{1,4}}:){{0,5}}{_OCTET}(?:\.{_OCTET}){{3}}"
        rf"|(?:{_HEX}{{1,4}}(?::{_HEX}{{1,4}}){{0,6}})?::(?:{_HEX}{{1,4}}(?::{_HEX}{{1,4}}){{0,6}})?)"
        r"(?:%[0-9A-Za-z]+)?"
    ),
    "IP": "(?:%{IPV6}|%{IPV4})",
    "HOSTNAME": r"\b[0-9A-Za-z](?:[0-9A-Za-z_-]{0,62})(?:\.[0-9A-Za-z](?:[0-9A-Za-z_-]{0,62}))*\.?",
    "HOST": "%{HOSTNAME}",
    "IPORHOST": "(?:%{IP}|%{HOSTNAME})",
    "HOSTPORT": "%{IPORHOST}:%{POSINT}",
    "UNIXPATH": r"(?:/[^\s/]*)+",
    "WINPATH": r"(?:[A-Za-z]:|\\)(?:\\[^\\?*\s]*)+",
    "PATH": "(?:%{UNIXPATH}|%{WINPATH})",
    "TTY": r"/dev/(?:pts|tty(?:[pq])?)(?:\w+)?/?[0-9]*",
    "URIPROTO": r"[A-Za-z][A-Za-z0-9+.-]+",
    "URIHOST": "%{IPORHOST}(?::%{POSINT})?",
    "URIPATH": r"(?:/[^\s?#]*)+",
    "URIQUERY": r"[^\s#]*",
    "URIPARAM": r"\?[^\s#]*",
    "URIPATHPARAM": "%{URIPATH}(?:%{URIPARAM})?",
    "URI": "%{URIPROTO}://(?:%{USER}(?::[^@\\s]*)?@)?(?:%{URIHOST})?(?:%{URIPATHPARAM})?(?:#\\S*)?",
}

_TIMES = {
    "MONTH": rf"\b(?:{_MONTHS})\b",
    "MONTHNUM": "(?:0?[1-9]|1[0-2])",
    "MONTHNUM2": "(?:0[1-9]|1[0-2])",
    "MONTHDAY": "(?:0[1-9]|[12][0-9]|3[01]|[1-9])",
    "DAY": rf"(?:{_DAYS})",
    "YEAR": r"(?:[0-9]{4}|[0-9]{2})",
    "HOUR": "(?:2[0-3]|[01]?[0-9])",
    "MINUTE": "[0-5][0-9]",
    "SECOND": r"(?:[0-5]?[0-9]|60)(?:[:.,][0-9]+)?",
    "TIME": "%{HOUR}:%{MINUTE}(?::%{SECOND})?",
    "DATE_US": "%{MONTHNUM}[/-]%{MONTHDAY}[/-]%{YEAR}",
    "DATE_EU": "%{MONTHDAY}[./-]%{MONTHNUM}[./-]%{YEAR}",
    "DATE": "(?:%{DATE_US}|%{DATE_EU})",
    "TZ": r"[A-Z]{3,5}",
    "ISO8601_TIMEZONE": "(?:Z|[+-]%{HOUR}(?::?%{MINUTE})?)",
    "ISO8601_SECOND": "%{SECOND}",
    "TIMESTAMP_ISO8601": (
        "[0-9]{4}-%{MONTHNUM2}-%{MONTHDAY}[T ]%{HOUR}:?%{MINUTE}(?::?%{SECOND})?(?:%{ISO8601_TIMEZONE})?"
    ),
    "DATESTAMP": "%{DATE}[- ]%{TIME}",
    "DATESTAMP_RFC822": "%{DAY} %{MONTH} %{MONTHDAY} %{YEAR} %{TIME} %{TZ}",
    "DATESTAMP_RFC2822": "%{DAY}, %{MONTHDAY} %{MONTH} %{YEAR} %{TIME} %{ISO8601_TIMEZONE}",
    "DATESTAMP_OTHER": "%{DAY} %{MONTH} %{MONTHDAY} %{TIME} %{TZ} %{YEAR}",
    "DATESTAMP_EVENTLOG": "[0-9]{4}%{MONTHNUM2}%{MONTHDAY}%{HOUR}%{MINUTE}%{SECOND}",
    "HTTPDATE": "%{MONTHDAY}/%{MONTH}/[0-9]{4}:%{TIME} %{INT}",
    "SYSLOGTIMESTAMP": "%{MONTH} +%{MONTHDAY} %{TIME}",
    "HTTPDERROR_DATE": "%{DAY} %{MONTH} %{MONTHDAY} %{TIME} [0-9]{4}",
}

_LOGS = {
    "LOGLEVEL": (
        r"\b(?:(?i:trace|debug|notice|info(?:rmation)?|warn(?:ing)?|err(?:or)?|crit(?:ical)?|alert|fatal|severe"
        r"|emerg(?:ency)?))\b"
    ),
    "PROG": r"[\x21-\x5a\x5c\x5e-\x7e]+",
    "SYSLOGPROG": r"%{PROG:program}(?:\[%{POSINT:pid}\])?",
    "SYSLOGHOST": "%{IPORHOST}",
    "SYSLOGFACILITY": "<%{NONNEGINT:facility}.%{NONNEGINT:priority}>",
    "SYSLOGPRI": "<%{NONNEGINT:priority}>",
    "SYSLOGBASE": "%{SYSLOGTIMESTAMP:timestamp} (?:%{SYSLOGFACILITY} )?%{SYSLOGHOST:logsource} %{SYSLOGPROG}:",
    "SYSLOGLINE": "(?:%{SYSLOGPRI})?%{SYSLOGBASE} ?%{GREEDYDATA:message}",
    "SYSLOG5424SD": r"(?:-|(?:\[(?:[^\]\\]|\\.)*\])+)",
    "SYSLOG5424LINE": (
        "<%{NONNEGINT:priority}>%{NONNEGINT:version} (?:%{TIMESTAMP_ISO8601:timestamp}|-) (?:%{SYSLOGHOST:host}|-) "
        "(?:-|%{NOTSPACE:program}) (?:-|%{NOTSPACE:pid}) (?:-|%{NOTSPACE:message_id}) %{SYSLOG5424SD:structured_data}"
        "(?: %{GREEDYDATA:message})?"
    ),
    "HTTPDUSER": "(?:%{EMAILADDRESS}|%{USER})",
    "COMMONAPACHELOG": (
        r"%{IPORHOST:clientip} %{HTTPDUSER:ident} %{HTTPDUSER:auth} \[%{HTTPDATE:timestamp}\] "
        r'"(?:%{WORD:verb} %{NOTSPACE:request}(?: HTTP/%{NUMBER:httpversion})?|%{DATA:rawrequest})" '
        "%{NUMBER:response} (?:%{NUMBER:bytes}|-)"
    ),
    "COMBINEDAPACHELOG": '%{COMMONAPACHELOG} "%{QUOTED:referrer}" "%{QUOTED:agent}"',
    "HTTPD_COMMONLOG": "%{COMMONAPACHELOG}",
    "HTTPD_COMBINEDLOG": "%{COMBINEDAPACHELOG}",
    "QUOTED": r'(?:[^"\\]|\\.)*',
}

LIBRARY: dict[str, str] = {**_TEXTS, **_NUMBERS, **_NETWORK, **_TIMES, **_LOGS}
"""Patterns by name; `%{NAME}` in one stands for another."""

__all__ = ["LIBRARY"]
