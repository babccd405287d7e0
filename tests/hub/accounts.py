"""Who there is, which tokens they hold, and what each token may do where."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum, auto
from typing import Any, Final

from starlette.requests import Request

from tests.hub.clock import timestamp
from tests.hub.refusals import Refusal


class Action(StrEnum):
    """What a token may be allowed to do with repositories of a namespace."""

    READ = auto()
    WRITE = auto()
    CREATE = auto()
    MANAGE = auto()
    """Settings, renaming, deletion; a Space's hardware and secrets."""
    RUN_JOBS = auto()
    SEE_JOBS = auto()


class TokenKind(StrEnum):
    """The kinds of token, by the Hub's names of their roles."""

    READ = "read"
    WRITE = "write"
    FINE_GRAINED = "fineGrained"
    OAUTH = "oauth"


EVERYTHING: Final = frozenset(Action)
_JOBS: Final = frozenset({Action.RUN_JOBS, Action.SEE_JOBS})
_BY_KIND: Final = {TokenKind.READ: frozenset({Action.READ, Action.SEE_JOBS}), TokenKind.WRITE: EVERYTHING}
_BY_ROLE: Final = {
    "read": frozenset({Action.READ, Action.SEE_JOBS}),
    "contributor": frozenset({Action.READ, Action.CREATE}),
    "write": EVERYTHING,
    "admin": EVERYTHING,
}
_BY_GRANT: Final = {
    # permissions of fine-grained tokens
    "repo.content.read": frozenset({Action.READ}),
    "repo.write": EVERYTHING - _JOBS,
    "job.write": _JOBS,
    # scopes of sign-ins
    "read-repos": frozenset({Action.READ}),
    "write-repos": frozenset({Action.READ, Action.WRITE}),
    "manage-repos": EVERYTHING - _JOBS,
    "contribute-repos": frozenset({Action.CREATE}),
    "jobs": _JOBS,
}
_OF_OWN_CREATION: Final = frozenset({Action.READ, Action.WRITE, Action.MANAGE})


def _made_up(word: str) -> str:
    """A token of the real ones' shape, so that whatever finds tokens in logs finds these."""
    return f"hf_{word}".ljust(37, "x")


ALICE: Final = _made_up("AliceWrites")
ALICE_READS: Final = _made_up("AliceReads")
BOB: Final = _made_up("BobWrites")
EXPIRED: Final = _made_up("AliceExpired")
REVOKED: Final = _made_up("AliceRevoked")


@dataclass(frozen=True)
class User:
    """A person. `organisations` maps each one's name to the role held in it."""

    name: str
    organisations: Mapping[str, str] = field(default_factory=dict)
    pays: bool = True
    """Has a plan and credits; without them there are no Jobs, no paid hardware and no new Gradio Spaces."""


@dataclass
class Token:
    """A token of a user. `grants` are the scopes of a sign-in or the permissions of a fine-grained token."""

    value: str
    user: User
    kind: TokenKind
    grants: frozenset[str] = frozenset()
    only_in: str | None = None
    """A namespace or a repository that a fine-grained token is confined to."""
    app: str | None = None
    """The app that the user signed in to."""
    expires_at: float | None = None
    revoked: bool = False

    @property
    def valid(self) -> bool:
        return not self.revoked and (self.expires_at is None or time.time() < self.expires_at)

    @property
    def opens_gates(self) -> bool:
        """Whether it reads gated repositories that its user was let into."""
        return self.kind in _BY_KIND or "gated-repos" in self.grants

    def powers(self, repo_id: str, *, creator: str | None = None, app: str | None = None) -> frozenset[Action]:
        """What it may do with a repository (`creator` made it, through `app`) or with a namespace."""
        namespace = repo_id.split("/")[0]
        if namespace == self.user.name:
            of_user = EVERYTHING
        else:
            of_user = _BY_ROLE.get(self.user.organisations.get(namespace, ""), frozenset())
            if of_user and creator == self.user.name:
                of_user |= _OF_OWN_CREATION
        if self.only_in not in (None, namespace, repo_id):
            return frozenset()
        of_token = _BY_KIND.get(self.kind, frozenset())
        for grant in self.grants:
            of_token |= _BY_GRANT.get(grant, frozenset())
        if "contribute-repos" in self.grants and app is not None and app == self.app:
            of_token |= _OF_OWN_CREATION
        return of_user & of_token


def object_id(text: str) -> str:
    """A stable identifier of the Hub's shape."""
    return hashlib.sha1(text.encode()).hexdigest()[:24]


class Accounts:
    """The people of this Hub: alice pays and belongs to three organisations, bob does neither."""

    def __init__(self) -> None:
        alice = User("alice", {"acme": "admin", "makers": "contributor", "readers": "read"})
        bob = User("bob", {"acme": "read"}, pays=False)
        self.users = {user.name: user for user in (alice, bob)}
        tokens = (
            Token(ALICE, alice, TokenKind.WRITE),
            Token(ALICE_READS, alice, TokenKind.READ),
            Token(BOB, bob, TokenKind.WRITE),
            Token(EXPIRED, alice, TokenKind.WRITE, expires_at=0),
            Token(REVOKED, alice, TokenKind.WRITE, revoked=True),
        )
        self._tokens = {token.value: token for token in tokens}

    def issue(
        self,
        user_name: str,
        kind: TokenKind,
        *,
        grants: Collection[str] = (),
        only_in: str | None = None,
        app: str | None = None,
        expires_in_s: float | None = None,
    ) -> Token:
        """A new token."""
        prefix = "hf_oauth_" if kind is TokenKind.OAUTH else "hf_"
        token = Token(
            prefix + secrets.token_hex(20),
            self.users[user_name],
            kind,
            grants=frozenset(grants),
            only_in=only_in,
            app=app,
            expires_at=None if expires_in_s is None else time.time() + expires_in_s,
        )
        self._tokens[token.value] = token
        return token

    def revoke(self, value: str) -> None:
        """From now on the token is worth nothing."""
        self._tokens[value].revoked = True

    def token_of(self, request: Request) -> Token | None:
        """The token that came with a request; None where there was none. Refuses a bad one."""
        header = request.headers.get("authorization")
        if header is None:
            return None
        token = self._tokens.get(header.removeprefix("Bearer "))
        if token is None or not token.valid:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return token

    def signed_in(self, request: Request) -> Token:
        """The token that came with a request; refuses where there was none."""
        token = self.token_of(request)
        if token is None:
            raise Refusal(401, "Invalid username or password.")
        return token


def describe_token(token: Token) -> dict[str, Any]:
    """What whoami-v2 says of the token's holder and of the token."""
    user = token.user
    organisations = [
        {"type": "org", "id": object_id(name), "name": name, "fullname": name.title(), "roleInOrg": role}
        for name, role in user.organisations.items()
    ]
    if token.kind is TokenKind.OAUTH:
        auth: dict[str, Any] = {"type": "oauth", "resource": {"sub": token.app}, "scopes": sorted(token.grants)}
    else:
        access: dict[str, Any] = {"displayName": "made for tests", "role": token.kind.value, "createdAt": timestamp(0)}
        if token.kind is TokenKind.FINE_GRAINED:
            access["fineGrained"] = _fine_grained(token)
        auth = {"type": "access_token", "accessToken": access}
    if token.expires_at is not None:
        auth["expiresAt"] = timestamp(token.expires_at)
    return {
        "type": "user",
        "id": object_id(user.name),
        "name": user.name,
        "fullname": user.name.title(),
        "isPro": user.pays,
        "canPay": user.pays,
        "avatarUrl": f"/avatars/{user.name}.svg",
        "orgs": organisations,
        "auth": auth,
    }


def _fine_grained(token: Token) -> dict[str, Any]:
    name = token.only_in or token.user.name
    kind = "model" if "/" in name else "user" if name == token.user.name else "org"
    entity = {"_id": object_id(name), "type": kind, "name": name}
    return {
        "canReadGatedRepos": token.opens_gates,
        "global": [],
        "scoped": [{"entity": entity, "permissions": sorted(token.grants)}],
    }
