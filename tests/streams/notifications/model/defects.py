"""Planted defects: each takes back one protection of paging, and the course of events beside it breaks a promise then.

`where` is a module and a function of it; `old` stands in its source exactly once and becomes `new`. A piece that is no
longer there fails the test.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.streams.notifications.model.scenario import UNITS, WARNING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.streams.notifications.model.scenario import Scenario

MINUTE, HOUR = 60, 3_600


class Defect(NamedTuple):
    name: str
    where: str
    old: str
    new: str
    course: Callable[[Scenario], None]
    levels: tuple[int, ...] = (1, 2)
    receipts: bool = True


class DefectOutOfDate(Exception):  # noqa: N818
    """The code has changed: the piece that was to be replaced is not there, or more than once."""


@contextlib.contextmanager
def planted(defect: Defect) -> Iterator[None]:
    """The flows have this defect while the context is open."""
    module_name, _, path = defect.where.partition(":")
    module: Any = importlib.import_module(module_name)
    owner: Any = module
    *owners, name = path.split(".")
    for part in owners:
        owner = getattr(owner, part)
    found = inspect.getattr_static(owner, name)
    function: Any = found.fget if isinstance(found, property) else inspect.unwrap(getattr(owner, name))
    source = textwrap.dedent(inspect.getsource(function))
    if source.count(defect.old) != 1:
        raise DefectOutOfDate(f"{defect.name}: {defect.old!r} stands {source.count(defect.old)} times")
    scope = dict(vars(module))
    changed = "from __future__ import annotations\n" + source.replace(defect.old, defect.new)
    exec(compile(changed, f"<{defect.name}>", "exec"), scope)
    new: Any = scope[name].fget if isinstance(found, property) else inspect.unwrap(scope[name])
    # Modules that imported the function by its name have the defect too.
    sound, function.__code__ = function.__code__, new.__code__
    try:
        yield
    finally:
        function.__code__ = sound


def outage(scenario: Scenario) -> None:
    scenario.provider("unavailable")
    scenario.breach()
    scenario.later(10 * MINUTE)
    scenario.provider("well")
    scenario.later(5 * MINUTE)


def away(scenario: Scenario) -> None:
    scenario.provider("away")
    scenario.breach()
    scenario.later(40 * MINUTE)
    scenario.provider("well")
    scenario.later(5 * MINUTE)


def nobody_on_duty(scenario: Scenario) -> None:
    scenario.change("ada", on_duty=False)
    scenario.breach()
    scenario.later(10 * MINUTE)
    scenario.change("ada", on_duty=True)
    scenario.later(5 * MINUTE)


def unanswered(scenario: Scenario) -> None:
    scenario.breach()
    scenario.later(3 * HOUR)


def acknowledged_for_hours(scenario: Scenario) -> None:
    alert = scenario.breach()
    scenario.later(MINUTE)
    scenario.acknowledge(alert)
    scenario.later(5 * HOUR)


def acknowledged_as_a_warning(scenario: Scenario) -> None:
    alert = scenario.breach(severity=WARNING)
    scenario.later(MINUTE)
    scenario.acknowledge(alert)
    scenario.later(MINUTE)
    scenario.worsen(alert)
    scenario.later(5 * HOUR)


def becomes_worse(scenario: Scenario) -> None:
    alert = scenario.breach(severity=WARNING)
    scenario.later(MINUTE)
    scenario.worsen(alert)
    scenario.later(10 * MINUTE)


def person_leaves(scenario: Scenario) -> None:
    scenario.breach()
    scenario.later(MINUTE)
    scenario.remove("ada")
    scenario.later(10 * MINUTE)


def number_changes(scenario: Scenario) -> None:
    scenario.breach()
    scenario.later(MINUTE)
    scenario.renumber("ada")
    scenario.later(10 * MINUTE)


def warning_first(scenario: Scenario) -> None:
    scenario.later(5 * MINUTE)
    scenario.breach(UNITS[0], WARNING)
    scenario.later(MINUTE)
    scenario.breach(UNITS[1])
    scenario.later(10 * MINUTE)


def many_units(scenario: Scenario) -> None:
    for unit_id in UNITS:
        scenario.breach(unit_id)
        scenario.later(40)
    scenario.later(40 * MINUTE)


def two_warnings(scenario: Scenario) -> None:
    for unit_id in UNITS[:4]:
        scenario.breach(unit_id, WARNING)
        scenario.later(MINUTE)
    scenario.later(HOUR)


def two_short_warnings(scenario: Scenario) -> None:
    scenario.later(5 * MINUTE)
    for unit_id in UNITS[:2]:
        alert = scenario.breach(unit_id, WARNING)
        scenario.later(MINUTE)
        scenario.resolve(alert)
    scenario.later(HOUR)


def acknowledged_before_the_reminder(scenario: Scenario, after_s: float = 13.5) -> None:
    alert = scenario.breach()
    scenario.later(14 * MINUTE + 50)
    scenario.provider("away")
    scenario.later(after_s)
    scenario.acknowledge(alert)
    scenario.provider("well")
    scenario.later(10 * MINUTE)


def acknowledged_in_an_outage(scenario: Scenario) -> None:
    scenario.provider("away")
    alert = scenario.breach()
    scenario.later(20)
    scenario.acknowledge(alert)
    scenario.later(20)
    scenario.provider("well")
    scenario.later(5 * MINUTE)


def over_in_an_outage(scenario: Scenario) -> None:
    scenario.provider("away")
    alert = scenario.breach()
    scenario.later(2 * MINUTE)
    scenario.resolve(alert)
    scenario.later(10 * MINUTE)
    scenario.provider("well")
    scenario.later(5 * MINUTE)


def it_ends(scenario: Scenario) -> None:
    alert = scenario.breach()
    scenario.later(5 * MINUTE)
    scenario.resolve(alert)
    scenario.later(30 * MINUTE)


def answered(scenario: Scenario) -> None:
    alert = scenario.breach()
    scenario.later(MINUTE)
    scenario.reply(alert, "ada")


def answered_one_of_two(scenario: Scenario) -> None:
    scenario.breach(UNITS[0])
    scenario.later(MINUTE)
    scenario.breach(UNITS[1])
    alert = scenario.breach(UNITS[2])
    scenario.later(MINUTE)
    scenario.reply(alert, "ada")


def silenced(scenario: Scenario) -> None:
    alert = scenario.breach()
    scenario.later(MINUTE)
    scenario.silence(alert, 60)
    scenario.later(2 * HOUR)


def opted_out(scenario: Scenario) -> None:
    scenario.change("ada", sms_opted_out=True)
    scenario.breach()
    scenario.later(10 * MINUTE)


def killed(scenario: Scenario) -> None:
    scenario.kill(1, arrives=False)
    scenario.breach()
    scenario.later(10 * MINUTE)
    for unit_id, publishes in zip(UNITS, (0, 1, 2, 3, 4, 5), strict=True):
        scenario.kill(publishes, arrives=publishes != 1)
        scenario.breach(unit_id)
        scenario.later(2 * MINUTE)
    scenario.later(10 * MINUTE)


FLOWS, RULES = "streams.notifications.", "domain.notification."
DEFECTS = (
    Defect(
        "an answer that speaks of the provider uses up an attempt",
        RULES + "retry_decision:after_answer",
        "case Refused(ErrorClass.UNAVAILABLE | ErrorClass.THROTTLED as error_class, code, title):",
        "case Refused(ErrorClass.THROTTLED as error_class, code, title):",
        outage,
        levels=(1,),
    ),
    Defect(
        "a refused connection kills the message",
        RULES + "retry_decision:after_answer",
        "return Deferred(due_at_ms, str(kind), detail)",
        "return Dead(DeadReason.EXHAUSTED, str(kind), detail)",
        away,
        levels=(1,),
    ),
    Defect(
        "a page that was deferred goes to nobody by e-mail",
        FLOWS + "second_way:SecondWay._mail",
        "if entry.mailed or",
        "if True or",
        away,
        levels=(1,),
    ),
    Defect(
        "a message ends after a minute",
        FLOWS + "sms_policy:SmsPolicy.deadline_ms",
        "begun_at_ms + self.deadlines_ms[request.severity]",
        "begun_at_ms + 60_000",
        outage,
        levels=(1,),
    ),
    Defect(
        "the next probe is due an hour later",
        RULES + "circuit_breaker:CircuitBreaker.permit",
        "LONGEST_PROBE_MS)",
        "3_600_000) * 1_000",
        outage,
    ),
    Defect(
        "nobody on duty ends the chain",
        RULES + "escalation:stepped",
        "due_at_ms=now_ms + times.look_again_ms",
        "due_at_ms=None",
        nobody_on_duty,
        levels=(1,),
    ),
    Defect(
        "a chain that ended does not begin again",
        RULES + "escalation:stepped",
        "due_at_ms = None if times.again_ms is None else now_ms + times.again_ms",
        "due_at_ms = None",
        unanswered,
    ),
    Defect(
        "an acknowledgement never lapses",
        RULES + "escalation:ended",
        "lapses_at_ms=lapses_at_ms",
        "lapses_at_ms=None",
        acknowledged_for_hours,
    ),
    Defect(
        "the acknowledgement of a warning holds for what it became",
        RULES + "escalation:worsened",
        "if escalation.next_at_ms is not None:",
        "if True:",
        acknowledged_as_a_warning,
    ),
    Defect(
        "what became worse is news to nobody",
        FLOWS + "alerts_to_sms:Paging._page",
        "changes.send(self._texts.worse(alert), trace)",
        "pass",
        becomes_worse,
    ),
    Defect(
        "a chain that begins at level 2 gets no reminder",
        RULES + "escalation:next_level",
        "(levels[0].number if levels else 1)",
        "1",
        unanswered,
        levels=(2,),
    ),
    Defect(
        "nobody looks whether who was paged is still there",
        FLOWS + "contact_changes:ContactChanges._lost",
        "if because is None:",
        "if True:",
        person_leaves,
    ),
    Defect(
        "a new number is taken for the old one",
        RULES + "reachability:why_lost",
        'return "renumbered"',
        "return None",
        number_changes,
        levels=(1,),
    ),
    Defect(
        "a warning limits a critical SMS",
        FLOWS + "windows:Windows._limited",
        "if severity.rank > request.severity.rank and not self._policy.strict:",
        "if False:",
        warning_first,
        levels=(1,),
    ),
    Defect(
        "a second unit of the same kind is swallowed",
        FLOWS + "windows:Windows.limit",
        "return limited if self._policy.strict else self._hold(slot, request, limited, now_ms)",
        "return limited",
        many_units,
        levels=(1,),
    ),
    Defect(
        "a held-back critical alert goes to nobody else",
        FLOWS + "consequences:Consequences._held_back",
        'outgoing.append(self._outcomes.undelivered(request, request.attempts, "rate_limited"))',
        "pass",
        many_units,
    ),
    Defect(
        "each critical alert is an SMS of its own, as many as there are",
        FLOWS + "windows:Windows._hold",
        "return HeldBack(free_at_ms, limited.by_request_id, gathered=False)",
        "return None",
        many_units,
    ),
    Defect(
        "the roll-up names only the first",
        FLOWS + "windows:Windows.carried",
        "if self._policy.strict or not counts_for_window(request):",
        "if True:",
        two_warnings,
        levels=(1,),
    ),
    Defect(
        "what the window holds back of warnings is told to nobody",
        FLOWS + "windows:Windows._hold",
        "return HeldBack(limited.until_at_ms, limited.by_request_id, gathered=False)",
        "return limited",
        two_short_warnings,
        levels=(1,),
    ),
    Defect(
        "a reminder leaves although its alert was acknowledged",
        FLOWS + "plans:revocation",
        "return Cancelled(why)",
        "return None",
        acknowledged_before_the_reminder,
        levels=(1,),
    ),
    Defect(
        "nobody asks for acknowledgements at the last moment",
        FLOWS + "attempt:Attempts._revoked",
        "await self._closed.up_to_date()",
        "pass",
        acknowledged_before_the_reminder,
        levels=(1,),
    ),
    Defect(
        "a first page leaves long after somebody took the alert",
        FLOWS + "plans:revocation",
        'return _taken(closed, request) if why == "acknowledged" else None',
        "return None",
        acknowledged_in_an_outage,
        levels=(1,),
    ),
    Defect(
        "a first page leaves long after the alert's end",
        FLOWS + "plans:Planner._unwanted",
        "if not (late and over) or entry.waited_for_window:",
        "if True:",
        over_in_an_outage,
        levels=(1,),
    ),
    Defect(
        "what is over by the window's end reads as if it went on",
        FLOWS + "windows:Windows.text",
        "(over and counts_for_window(request))",
        "False",
        two_short_warnings,
        levels=(1,),
    ),
    Defect(
        "nobody hears of the end",
        FLOWS + "alerts_to_sms:Paging._resolve",
        "changes.send(self._texts.all_clear(alert, state.paged) if state.paged else (), state.trace)",
        "pass",
        it_ends,
    ),
    Defect(
        "an answer by SMS acknowledges nothing",
        FLOWS + "replies:Replies.take",
        "acknowledged(meaning, reply.user_id, notified) if isinstance(meaning, Acknowledged) else ()",
        "()",
        answered,
    ),
    Defect(
        "an alert that another SMS named cannot be answered",
        FLOWS + "conclusion:Conclusion._named",
        "change.notified(request, now_ms)",
        "pass",
        answered_one_of_two,
        levels=(1,),
    ),
    Defect(
        "a silence is for ever",
        RULES + "escalation:silenced",
        "silenced_until_ms=until_ms",
        "silenced_until_ms=until_ms * 2",
        silenced,
    ),
    Defect(
        "an SMS goes to who opted out",
        RULES + "suppression:sms_suppression",
        "if contact.sms_opted_out:",
        "if False:",
        opted_out,
    ),
    Defect(
        "states are written before what follows is published",
        FLOWS + "escalation_states:EscalationStates.changing",
        "await self._publish(changes.outgoing)\n",
        "await self._table.write(slot, dict(map(self._row, changes.states.values())))\n"
        "        await self._publish(changes.outgoing)\n",
        killed,
    ),
)
