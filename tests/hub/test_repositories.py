"""Accounts, repositories and what is in them, through the real client."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.hub.accounts import ALICE, ALICE_READS, BOB, EXPIRED, REVOKED, TokenKind
from tests.hub.fixtures import Client
from tests.hub.local_hub import LocalHub

DOG = "alice/dog"


def refused(error: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    return error.value.response.status_code


@pytest.fixture
def alice(client: Client) -> HfApi:
    return client(ALICE)


@pytest.fixture
def dog(alice: HfApi) -> HfApi:
    """Alice's client, with a public model that has a few files."""
    alice.create_repo(DOG)
    files = {"README.md": b"---\ntags: [pet]\n---\n", "unet/config.json": b"{}", "unet/a/b.txt": b"deep"}
    additions = [CommitOperationAdd(path, data) for path, data in files.items()]
    alice.create_commit(DOG, additions, commit_message="Add files", commit_description="all of them")
    return alice


def test_whoami_tells_user_organisations_and_role_of_the_token(client: Client) -> None:
    answer = client(ALICE_READS).whoami()
    assert answer["name"] == "alice"
    assert {org["name"]: org["roleInOrg"] for org in answer["orgs"]} == {
        "acme": "admin",
        "makers": "contributor",
        "readers": "read",
    }
    assert answer["auth"]["accessToken"]["role"] == "read"


def test_whoami_tells_what_a_fine_grained_token_may_do(hub: LocalHub, client: Client) -> None:
    token = hub.new_token(kind=TokenKind.FINE_GRAINED, grants=["repo.content.read"], only_in="alice")
    access = client(token).whoami()["auth"]["accessToken"]
    assert access["role"] == "fineGrained"
    (scope,) = access["fineGrained"]["scoped"]
    assert (scope["entity"]["name"], scope["permissions"]) == ("alice", ["repo.content.read"])


def test_whoami_tells_scopes_and_end_of_a_sign_in(hub: LocalHub, client: Client) -> None:
    token = hub.new_token(kind=TokenKind.OAUTH, grants=["openid", "jobs"], app="app", expires_in_s=60)
    auth = client(token).whoami()["auth"]
    assert auth["type"] == "oauth"
    assert auth["scopes"] == ["jobs", "openid"]
    assert auth["expiresAt"].endswith("Z")


@pytest.mark.parametrize("token", [EXPIRED, REVOKED, "hf_unknown"])
def test_bad_token_is_refused_even_for_public_things(dog: HfApi, client: Client, token: str) -> None:
    for call in (client(token).whoami, lambda: client(token).model_info(DOG), lambda: client(token).create_repo("x")):
        with pytest.raises(HfHubHTTPError) as error:
            call()
        assert refused(error) == 401


def test_sign_in_that_ran_out_is_refused(hub: LocalHub, client: Client) -> None:
    token = hub.new_token(kind=TokenKind.OAUTH, grants=["openid"], expires_in_s=-1)
    with pytest.raises(HfHubHTTPError) as error:
        client(token).whoami()
    assert refused(error) == 401


def test_repository_is_created_once(alice: HfApi) -> None:
    url = alice.create_repo(DOG, private=True)
    assert url.repo_id == DOG
    with pytest.raises(HfHubHTTPError) as error:
        alice.create_repo(DOG)
    assert refused(error) == 409
    assert alice.create_repo(DOG, exist_ok=True).repo_id == DOG
    assert alice.model_info(DOG).private


def test_longest_name_is_taken(alice: HfApi) -> None:
    assert alice.create_repo("alice/" + "n" * 96).repo_id == "alice/" + "n" * 96


@pytest.mark.parametrize("name", ["a--b", "a..b", "..", "x.git", "n" * 97, "-a", "a-", "café", "a b"])
def test_name_that_the_hub_does_not_take_is_refused(hub: LocalHub, client: Client, name: str) -> None:
    headers = {"Authorization": f"Bearer {ALICE}"}  # the client itself would refuse most of them
    answer = httpx2.post(f"{hub.url}/api/repos/create", json={"name": name}, headers=headers)
    assert answer.status_code == 400
    assert "name" in answer.headers["X-Error-Message"]


@pytest.mark.parametrize(
    ("token", "repo_id"),
    [(ALICE_READS, "alice/x"), (BOB, "alice/x"), (BOB, "acme/x"), (ALICE, "readers/x"), (ALICE, "nobody/x")],
)
def test_namespace_takes_repositories_only_from_those_who_may(client: Client, token: str, repo_id: str) -> None:
    with pytest.raises(HfHubHTTPError) as error:
        client(token).create_repo(repo_id)
    assert refused(error) == 403


def test_role_in_an_organisation_decides(client: Client) -> None:
    client(ALICE).create_repo("acme/x", private=True)
    client(ALICE).create_repo("makers/mine")
    client(ALICE).upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id="makers/mine")
    assert client(BOB).model_info("acme/x").private
    with pytest.raises(HfHubHTTPError) as error:
        client(BOB).upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id="acme/x")
    assert refused(error) == 403


def test_private_repository_does_not_exist_for_others(dog: HfApi, client: Client) -> None:
    dog.update_repo_settings(DOG, private=True)
    for token, status in ((BOB, 404), (None, 401)):
        with pytest.raises(RepositoryNotFoundError) as error:
            client(token).model_info(DOG)
        assert refused(error) == status
    assert client(ALICE_READS).model_info(DOG).id == DOG


def test_gated_files_open_when_access_is_granted(hub: LocalHub, dog: HfApi, client: Client, tmp_path: Path) -> None:
    dog.update_repo_settings(DOG, gated="manual")
    bob = client(BOB)
    assert bob.model_info(DOG).gated == "manual"
    with pytest.raises(GatedRepoError):
        bob.hf_hub_download(DOG, "README.md", cache_dir=tmp_path)
    with pytest.raises(GatedRepoError):
        bob.auth_check(DOG)
    dog.grant_access(DOG, "bob")
    bob.auth_check(DOG)
    assert bob.hf_hub_download(DOG, "README.md", cache_dir=tmp_path)
    client(hub.new_token("bob", TokenKind.OAUTH, grants=["gated-repos"])).auth_check(DOG)
    with pytest.raises(GatedRepoError):
        client(hub.new_token("bob", TokenKind.OAUTH, grants=["openid"])).auth_check(DOG)


def test_renamed_repository_answers_under_its_old_name_until_that_is_taken(dog: HfApi) -> None:
    dog.move_repo(DOG, "acme/hound")
    assert dog.model_info(DOG).id == "acme/hound"
    dog.upload_file(path_or_fileobj=b"new", path_in_repo="n.txt", repo_id=DOG)
    assert dog.file_exists("acme/hound", "n.txt")
    with pytest.raises(RepositoryNotFoundError):
        dog.delete_repo(DOG)
    dog.create_repo(DOG)
    assert dog.model_info(DOG).id == DOG


def test_move_to_a_taken_or_foreign_name_is_refused(dog: HfApi) -> None:
    dog.create_repo("alice/cat")
    for target, status in (("alice/cat", 409), ("bob/dog", 403), ("alice/x.git", 400)):
        with pytest.raises(HfHubHTTPError) as error:
            dog.move_repo(DOG, target)
        assert refused(error) == status


def test_deleted_repository_is_gone(dog: HfApi) -> None:
    dog.delete_repo(DOG)
    with pytest.raises(RepositoryNotFoundError):
        dog.delete_repo(DOG)
    dog.delete_repo(DOG, missing_ok=True)


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_kinds_have_names_of_their_own(dog: HfApi, kind: str) -> None:
    dog.create_repo("alice/twin", repo_type=kind)
    dog.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id="alice/twin", repo_type=kind)
    assert dog.repo_info("alice/twin", repo_type=kind).id == "alice/twin"
    other = "dataset" if kind == "model" else "model"
    assert not dog.repo_exists("alice/twin", repo_type=other)


def test_information_includes_card_and_files(dog: HfApi) -> None:
    info = dog.model_info(DOG, files_metadata=True)
    assert info.tags == ["pet"]
    assert {file.rfilename: file.size for file in info.siblings or []}["unet/a/b.txt"] == 4


def test_tree_lists_a_level_or_everything_below(dog: HfApi) -> None:
    def paths(folder: str | None = None, *, recursive: bool = False) -> set[str]:
        return {entry.path for entry in dog.list_repo_tree(DOG, folder, recursive=recursive)}

    assert paths() == {".gitattributes", "README.md", "unet"}
    assert paths("unet") == {"unet/config.json", "unet/a"}
    assert paths(recursive=True) == paths() | paths("unet") | {"unet/a/b.txt"}
    assert [entry.path for entry in dog.get_paths_info(DOG, ["unet", "nope", "README.md"])] == ["unet", "README.md"]


def test_branches_and_tags_come_and_go(dog: HfApi) -> None:
    before = dog.model_info(DOG).sha
    dog.create_branch(DOG, branch="try/this")
    dog.create_tag(DOG, tag="v1")
    dog.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id=DOG, revision="try/this")
    assert dog.file_exists(DOG, "a", revision="try/this")
    refs = dog.list_repo_refs(DOG)
    assert {branch.name: branch.target_commit == before for branch in refs.branches} == {
        "main": True,
        "try/this": False,
    }
    assert [(tag.name, tag.target_commit) for tag in refs.tags] == [("v1", before)]
    with pytest.raises(HfHubHTTPError) as error:
        dog.create_branch(DOG, branch="try/this")
    assert refused(error) == 409
    dog.delete_branch(DOG, branch="try/this")
    dog.delete_tag(DOG, tag="v1")
    with pytest.raises(RevisionNotFoundError):
        dog.model_info(DOG, revision="v1")


def test_commits_are_listed_newest_first(dog: HfApi) -> None:
    newest, oldest = dog.list_repo_commits(DOG)
    assert (newest.title, newest.message, newest.authors) == ("Add files", "all of them", ["alice"])
    assert oldest.title == "initial commit"


def test_contributing_app_writes_only_to_what_it_created(hub: LocalHub, dog: HfApi, client: Client) -> None:
    dog.create_repo("alice/secret", private=True)
    scopes = ["openid", "contribute-repos"]
    app = client(hub.new_token(kind=TokenKind.OAUTH, grants=scopes, app="studio"))
    other_app = client(hub.new_token(kind=TokenKind.OAUTH, grants=scopes, app="other"))
    app.create_repo("alice/made", private=True)
    app.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id="alice/made")
    for api, repo_id in ((app, DOG), (other_app, DOG)):
        with pytest.raises(HfHubHTTPError) as error:
            api.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id=repo_id)
        assert refused(error) == 403
    for api, repo_id in ((app, "alice/secret"), (other_app, "alice/made")):
        with pytest.raises(RepositoryNotFoundError):
            api.model_info(repo_id)


def test_fine_grained_token_stays_where_it_is_confined(hub: LocalHub, dog: HfApi, client: Client) -> None:
    dog.create_repo("alice/cat")
    narrow = client(hub.new_token(kind=TokenKind.FINE_GRAINED, grants=["repo.write"], only_in=DOG))
    narrow.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id=DOG)
    with pytest.raises(HfHubHTTPError) as error:
        narrow.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id="alice/cat")
    assert refused(error) == 403


def test_unserved_route_says_that_it_is_not_served(hub: LocalHub) -> None:
    answer = httpx2.get(f"{hub.url}/api/collections/x")
    assert answer.status_code == 404
    assert "does not serve" in answer.json()["error"]
