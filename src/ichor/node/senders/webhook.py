"""The findings JSON by POST, signed: for a program of the site."""

from __future__ import annotations

import hashlib
import hmac
import json

from ichor.node.destinations import WebhookDestination
from ichor.node.senders.http import post, secret
from ichor.node.senders.package import Package, status_word

__all__ = ["send_webhook", "webhook_body"]


def webhook_body(package: Package) -> bytes:
    """Return the body: nothing that names the patient; UIDs are hashed, as everywhere."""
    study = package.study
    body = {
        "schema": "ichor.webhook/1",
        "delivery": package.id,
        "study": study.id if study is not None else None,
        "label": study.label if study is not None else None,
        "status": status_word(package),
        "findings": package.findings.to_dict() if package.findings is not None else None,
        "refusal": study.refusal_code if study is not None else None,
    }
    return json.dumps(body).encode()


def send_webhook(destination: WebhookDestination, package: Package) -> None:
    """Post it; ``X-Ichor-Signature`` is the HMAC-SHA256 of the body where a secret is given.

    Raises
    ------
    NotDelivered
        Where it is not taken.
    """
    body = webhook_body(package)
    headers = {"Content-Type": "application/json", "X-Ichor-Delivery": package.id}
    if destination.secret_file is not None:
        key = secret(destination.secret_file).encode()
        headers["X-Ichor-Signature"] = "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()
    post(destination.url, body, headers, destination.timeout_seconds)
