from domain.notification.request_ids import attempt_id, sms_request_id


def test_ids_are_the_same_for_the_same_and_differ_for_the_different() -> None:
    requests = {sms_request_id(alert, user, level) for alert in "ab" for user in "cd" for level in (1, 2)}
    assert len(requests) == 8
    assert sms_request_id("a", "c", 1) == sms_request_id("a", "c", 1)
    attempts = {
        attempt_id(request, attempt, redrive, failures)
        for request in requests
        for attempt in (1, 2)
        for redrive in (0, 1)
        for failures in (0, 1, 2)
    }
    assert len(attempts) == 96
