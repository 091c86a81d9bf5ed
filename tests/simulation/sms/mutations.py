"""Planted bugs of the SMS path, as those of the engine in `tests/simulation/mutations.py`."""

from __future__ import annotations

from tests.simulation.mutations import Mutation

SMS_MUTATIONS = (
    Mutation(
        "a request leaves before another worker would find that it does",
        "attempt:Attempts._note",
        "change.write(durable=True)",
        "change.write()",
        room="notifications",
    ),
    Mutation(
        "nobody asks whether the batch is still ours before a request leaves",
        "attempt:Attempts.make",
        "if not batch.still_ours():\n        raise Stale",
        "pass",
        room="notifications",
    ),
    Mutation(
        "acknowledgements are not read before a reminder leaves",
        "attempt:Attempts._revoked",
        "await self._closed.up_to_date()",
        "return None",
        room="notifications",
    ),
    Mutation(
        "an attempt that a crash left is repeated without a word",
        "attempt:Attempts._note",
        "if send.found_sending:",
        "if False:",
        room="notifications",
    ),
    Mutation(
        "a crash is forgotten where the next decision is another one",
        "sms_to_provider:SmsToProvider._act",
        "if entry.found_sending and entry.receipt is not None:",
        "if type(decision).__name__ == 'AwaitReceipt':",
        room="notifications",
    ),
    Mutation(
        "a receipt does not prove that an unanswered request arrived",
        "deliveries:Deliveries.apply",
        "if entry.state in (RequestState.SENDING, RequestState.WAITING) and attempt.state in receipts.ARRIVED:",
        "if False:",
        room="notifications",
    ),
    Mutation(
        "receipts of former attempts count for the newest",
        "deliveries:Deliveries.take",
        "or entry.receipt.attempt_id != receipt.attempt_id ",
        "",
        room="notifications",
    ),
    Mutation(
        "the ledger is written before what follows is published",
        "conclusion:Conclusion.carry_out",
        "await self._publish(follows.outgoing)",
        "change.entry(request.request_id, after)\n    await change.write(durable=True)\n"
        "    await self._publish(follows.outgoing)",
        room="notifications",
    ),
    Mutation(
        "what was raised for a message does not reach its batch",
        "sms_to_provider:SmsToProvider._serve",
        "job.settle(error)",
        "job.settle()",
        room="notifications",
    ),
    Mutation(
        "a lane's batch is finished once its messages wait for their turn",
        "sms_to_provider:SmsToProvider.handle",
        "await all_of(*(job.settled for job in jobs))",
        "pass",
        room="notifications",
    ),
    Mutation(
        "receipts do not wait for the answer",
        "receipts_to_sms:Receipts._of_user",
        "async with self._ledger.lock(user_id):",
        "if True:",
        room="notifications",
    ),
    Mutation(
        "an accepted SMS is not watched for its final receipt",
        "conclusion:Conclusion.carry_out",
        "await self.watch(slot, request, after.receipt)",
        "pass",
        room="notifications",
    ),
    Mutation(
        "the provider is asked once for a missing receipt",
        "status_polls:StatusPolls.take",
        "await self._conclusion.watch(batch, request, attempt)",
        "pass",
        room="notifications",
    ),
    Mutation(
        "an escalation's state is written before its SMS are requested",
        "escalation_states:EscalationStates.changing",
        "await self._publish(changes.outgoing)",
        "await self._table.write(slot, dict(map(self._row, changes.states.values())), durable=True)\n"
        "        await self._publish(changes.outgoing)",
        room="notifications",
    ),
    Mutation(
        "what was sent does not use up the window",
        "conclusion:Conclusion._moved",
        "return sent.sent(request.request_id, now_ms, self._policy.window_ms)",
        "return sent",
        room="notifications",
    ),
)
