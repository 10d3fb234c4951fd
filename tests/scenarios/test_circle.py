"""The health circle through the wire: reading, comments, likes, what staff hides (H1–H3, D5)."""

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.scenarios.conftest import Enter, NewPatient
from tests.scenarios.people import OPERATOR, XIAOFU, User, upload
from tests.scenarios.wire import load_rooms
from tests.server import ServerProcess

CATEGORIES = ["生活", "睡眠", "男性", "两性", "辟谣"]
BODY = "## 要点\n\n多喝水，**早睡**。"


async def delete(user: User, path: str) -> None:
    answer = await user.client.call("DELETE", path, None)
    assert answer.status == 204, answer


async def put(user: User, path: str) -> None:
    answer = await user.client.call("PUT", path, None)
    assert answer.status == 204, answer


def article(title: str = "多喝水", **changes: Any) -> dict[str, Any]:
    return {"category": "生活", "title": title, "author": "健康编辑部", "body": BODY} | changes


async def publish(staff: User, **changes: Any) -> Any:
    return await staff.post("/operator/articles", article(**changes))


async def comment(user: User, post: str, text: str, parent: str | None = None) -> Any:
    said = {"post": post, "text": text} | ({"parent": parent} if parent else {})
    return await user.post("/comments", said)


async def counts(user: User, post: str) -> tuple[int, int, int]:
    shown = await user.get(f"/articles/{post}")
    return shown["comment_count"], shown["like_count"], shown["share_count"]


async def whole_list(user: User, path: str, limit: int) -> list[Any]:
    """Read a list page by page."""
    items: list[Any] = []
    cursor = ""
    while True:
        shown = await user.get(f"{path}limit={limit}{cursor}")
        assert len(shown["items"]) <= limit
        items += shown["items"]
        if shown["cursor"] is None:
            return items
        cursor = f"&cursor={shown['cursor']}"


@pytest.mark.rule("H1")
async def test_every_category_of_the_demo_has_an_article(new_patient: NewPatient) -> None:
    reader = await new_patient()
    named = [one["name"] for one in (await reader.get("/categories"))["items"]]
    assert named == CATEGORIES
    for name in CATEGORIES:
        listed = (await reader.get(f"/articles?category={name}"))["items"]
        assert listed
        assert {one["category"] for one in listed} == {name}
    shown = await reader.get(f"/articles/{listed[0]['id']}")
    assert shown["author"] == {"id": None, "name": "健康编辑部"}
    assert shown["html"].startswith("<p>")
    assert "<p>" not in shown["summary"]


@pytest.mark.rule("H1")
async def test_articles_come_in_pages_newest_first(
    enter_as: Enter, new_patient: NewPatient
) -> None:
    staff, reader = await enter_as(OPERATOR), await new_patient()
    made = [(await publish(staff, title=f"第{i}篇", category="睡眠"))["id"] for i in range(5)]
    paged = await whole_list(reader, "/articles?category=睡眠&", 2)
    assert [one["id"] for one in paged][:5] == made[::-1]
    assert len({one["id"] for one in paged}) == len(paged)
    assert set(made) <= {one["id"] for one in await whole_list(reader, "/articles?", 3)}


@pytest.mark.rule("H1")
async def test_an_article_is_markdown_in_and_harmless_html_out(
    enter_as: Enter, new_patient: NewPatient
) -> None:
    staff, reader = await enter_as(OPERATOR), await new_patient()
    body = (
        "# 题\n\n<script>alert(1)</script><img src=x onerror=alert(1)>\n\n"
        "[好](https://example.org/a) [坏](javascript:alert(1)) ![图](https://example.org/x.png)\n\n"
        "|a|b|\n|-|-|\n|1|2|\n"
    )
    made = await publish(staff, body=body)
    html = (await reader.get(f"/articles/{made['id']}"))["html"]
    assert "<h1>题</h1>" in html
    assert "<table>" in html
    assert 'href="https://example.org/a" rel="noopener noreferrer nofollow"' in html
    for bad in ("<script", "<img", 'href="javascript'):
        assert bad not in html
    assert made["body"] == body


@pytest.mark.rule("H1")
async def test_an_article_is_rewritten_with_a_cover_everybody_can_see(
    enter_as: Enter, new_patient: NewPatient, http: aiohttp.ClientSession, clocked: ServerProcess
) -> None:
    staff, reader = await enter_as(OPERATOR), await new_patient()
    made = await publish(staff)
    changes = article("少喝酒", cover=await upload(staff), summary="一句话", category="辟谣")
    answer = await staff.client.call("PUT", f"/operator/articles/{made['id']}", changes)
    assert answer.status == 200, answer
    shown = await reader.get(f"/articles/{made['id']}")
    assert (shown["title"], shown["summary"], shown["category"]) == ("少喝酒", "一句话", "辟谣")
    async with http.get(clocked.url + shown["cover_url"]) as picture:
        assert (picture.status, picture.content_type) == (200, "image/jpeg")
    foreign = article(cover=await upload(reader))
    assert (await staff.refused("POST", "/operator/articles", foreign))[0] == 403


@pytest.mark.rule("H1")
async def test_an_article_of_an_unknown_category_is_refused(enter_as: Enter) -> None:
    staff = await enter_as(OPERATOR)
    status, problem = await staff.refused("POST", "/operator/articles", article(category="八卦"))
    assert (status, list(problem["fields"])) == (400, ["category"])


@pytest.mark.rule("H2")
async def test_a_doctor_publishes_a_topic_and_takes_it_back(
    enter_as: Enter, new_patient: NewPatient
) -> None:
    doctor, reader = await enter_as(XIAOFU), await new_patient()
    made = await doctor.post("/topics", {"title": "刷牙的学问", "body": BODY})
    (first, *_) = (await reader.get(f"/topics?doctor={doctor.id}"))["items"]
    assert first["id"] == made["id"]
    assert first["author"] == {"id": doctor.id, "name": doctor.name}
    assert (await reader.get(f"/topics/{made['id']}"))["html"] == made["html"]
    assert (await reader.refused("GET", f"/articles/{made['id']}"))[0] == 403
    other = await enter_as("13900000003")
    assert (await other.refused("DELETE", f"/topics/{made['id']}"))[0] == 403
    await delete(doctor, f"/topics/{made['id']}")
    assert (await reader.refused("GET", f"/topics/{made['id']}"))[0] == 403


@pytest.mark.rule("H3")
async def test_replies_to_replies_are_counted_on_everything_above(
    enter_as: Enter, new_patient: NewPatient
) -> None:
    staff, one, other = await enter_as(OPERATOR), await new_patient(), await new_patient()
    post = (await publish(staff))["id"]
    first = await comment(one, post, "写得好")
    reply = await comment(other, post, "同意", first["id"])
    deeper = await comment(one, post, "谢谢", reply["id"])
    assert (first["parent"], reply["parent"], deeper["parent"]) == (None, first["id"], reply["id"])
    (shown,) = (await other.get(f"/comments?post={post}"))["items"]
    assert (shown["id"], shown["reply_count"], shown["mine"]) == (first["id"], 2, False)
    assert shown["author"] == {"id": one.id, "name": one.name, "role": "patient"}
    (below,) = (await one.get(f"/comments?post={post}&parent={first['id']}"))["items"]
    assert (below["id"], below["reply_count"]) == (reply["id"], 1)
    assert (await counts(one, post))[0] == 3


@pytest.mark.rule("H3")
async def test_comments_come_in_pages_and_replies_in_the_order_of_the_talk(
    enter_as: Enter, new_patient: NewPatient
) -> None:
    staff, patient = await enter_as(OPERATOR), await new_patient()
    post = (await publish(staff))["id"]
    tops = [(await comment(patient, post, f"第{i}条"))["id"] for i in range(5)]
    replies = [(await comment(patient, post, f"回{i}", tops[0]))["id"] for i in range(5)]
    listed = await whole_list(patient, f"/comments?post={post}&", 2)
    assert [c["id"] for c in listed] == tops[::-1]
    talk = await whole_list(patient, f"/comments?post={post}&parent={tops[0]}&", 2)
    assert [c["id"] for c in talk] == replies


@pytest.mark.rule("H3")
async def test_a_comment_sent_again_is_one(
    clocked: ServerProcess, http: aiohttp.ClientSession, enter_as: Enter, new_patient: NewPatient
) -> None:
    post = (await publish(await enter_as(OPERATOR)))["id"]
    (room,) = await load_rooms(http, clocked.url, 1)
    headers = {"Authorization": f"Bearer {room['patient_token']}", "Idempotency-Key": "k1"}
    url, said = f"{clocked.url}/api/v1/comments", {"post": post, "text": "好"}

    async def send() -> tuple[int, str]:
        async with http.post(url, json=said, headers=headers) as answer:
            return answer.status, (await answer.json())["id"]

    ((status, _),) = set(await asyncio.gather(*(send() for _ in range(8))))
    assert status == 201
    assert (await counts(await new_patient(), post))[0] == 1


@pytest.mark.rule("H3")
async def test_what_is_hidden_goes_with_all_below_it_and_comes_back(
    enter_as: Enter, new_patient: NewPatient
) -> None:
    staff, patient = await enter_as(OPERATOR), await new_patient()
    post = (await publish(staff))["id"]
    kept = await comment(patient, post, "留下")
    top = await comment(patient, post, "广告")
    middle = await comment(patient, post, "回复", top["id"])
    await comment(patient, post, "再回复", middle["id"])
    hide = {"reason": "广告内容"}

    async def tree() -> tuple[int, dict[str, int]]:
        shown = (await patient.get(f"/comments?post={post}"))["items"]
        return (await counts(patient, post))[0], {c["id"]: c["reply_count"] for c in shown}

    whole = (4, {kept["id"]: 0, top["id"]: 2})
    assert await tree() == whole
    await staff.post(f"/operator/comments/{middle['id']}/hide", hide)
    assert await tree() == (2, {kept["id"]: 0, top["id"]: 0})
    for _ in range(2):
        await staff.post(f"/operator/comments/{top['id']}/hide", hide)
    assert await tree() == (1, {kept["id"]: 0})
    # below what is hidden nothing is read, said, liked
    for method, path, body in [
        ("GET", f"/comments?post={post}&parent={top['id']}", None),
        ("GET", f"/comments?post={post}&parent={middle['id']}", None),
        ("POST", "/comments", {"post": post, "parent": middle["id"], "text": "回"}),
        ("PUT", f"/likes/comment/{middle['id']}", None),
    ]:
        assert (await patient.refused(method, path, body))[0] == 403, path
    listed = (await staff.get("/operator/comments?hidden=true"))["items"]
    assert {top["id"], middle["id"]} <= {c["id"] for c in listed}
    # the one below first: what is above it still hides it
    await staff.post(f"/operator/comments/{middle['id']}/show", hide)
    assert await tree() == (1, {kept["id"]: 0})
    await staff.post(f"/operator/comments/{top['id']}/show", hide)
    assert await tree() == whole


@pytest.mark.rule("H3", "S4")
async def test_hiding_an_article_hides_its_talk_and_is_noted(
    enter_as: Enter, new_patient: NewPatient
) -> None:
    staff, admin = await enter_as(OPERATOR), await enter_as("13500000001")
    patient = await new_patient()
    post = (await publish(staff))["id"]
    said = await comment(patient, post, "好")
    await put(patient, f"/likes/article/{post}")
    await staff.post(f"/operator/articles/{post}/hide", {"reason": "内容有误"})
    for path in (f"/articles/{post}", f"/comments?post={post}"):
        assert (await patient.refused("GET", path))[0] == 403
    assert post not in {one["id"] for one in (await patient.get("/articles"))["items"]}
    (mine,) = (await patient.get("/me/comments"))["items"]
    (liked,) = (await patient.get("/me/likes"))["items"]
    assert (mine["id"], mine["title"], liked["title"]) == (said["id"], None, None)
    trail = (await admin.get(f"/operator/audit?subject={staff.id}"))["items"]
    noted = [entry for entry in trail if entry["details"].get("of") == post]
    assert [(entry["action"], entry["purpose"]) for entry in noted] == [
        ("article_hidden", "内容有误")
    ]
    await staff.post(f"/operator/articles/{post}/show", {"reason": "已更正"})
    assert (await patient.get(f"/articles/{post}"))["comment_count"] == 1


@pytest.mark.rule("H3")
async def test_one_takes_back_the_own_comment_alone(
    enter_as: Enter, new_patient: NewPatient
) -> None:
    staff, one, other = await enter_as(OPERATOR), await new_patient(), await new_patient()
    post = (await publish(staff))["id"]
    said = await comment(one, post, "手滑了")
    assert (await other.refused("DELETE", f"/comments/{said['id']}"))[0] == 403
    await delete(one, f"/comments/{said['id']}")
    assert (await one.get(f"/comments?post={post}"))["items"] == []
    assert (await counts(one, post))[0] == 0
    assert [c["hidden"] for c in (await one.get("/me/comments"))["items"]] == [True]


@pytest.mark.rule("H3")
@pytest.mark.parametrize("text", ["这药包治百病！", "包 治·百.病", "包治\u200b百病", "加微信 123"])
async def test_forbidden_words_are_refused_however_they_are_spaced(
    enter_as: Enter, new_patient: NewPatient, text: str
) -> None:
    staff, patient, doctor = await enter_as(OPERATOR), await new_patient(), await enter_as(XIAOFU)
    post = (await publish(staff))["id"]
    status, problem = await patient.refused("POST", "/comments", {"post": post, "text": text})
    assert (status, list(problem["fields"])) == (400, ["text"])
    status, problem = await doctor.refused("POST", "/topics", {"title": "好消息", "body": text})
    assert (status, list(problem["fields"])) == (400, ["body"])
    assert (await counts(patient, post))[0] == 0


@pytest.mark.rule("H3")
async def test_a_comment_has_500_characters_at_most(
    enter_as: Enter, new_patient: NewPatient
) -> None:
    staff, patient = await enter_as(OPERATOR), await new_patient()
    post = (await publish(staff))["id"]
    await comment(patient, post, "好" * 500)
    too_long = {"post": post, "text": "好" * 501}
    status, problem = await patient.refused("POST", "/comments", too_long)
    assert (status, list(problem["fields"])) == (400, ["text"])


@pytest.mark.rule("H3", "D5")
async def test_likes_and_comments_of_mine_are_listed_with_their_count(
    enter_as: Enter, new_patient: NewPatient
) -> None:
    staff, patient = await enter_as(OPERATOR), await new_patient()
    posts = [(await publish(staff, title=f"文{i}"))["id"] for i in range(3)]
    said = await comment(patient, posts[0], "说一句")
    await put(patient, f"/likes/comment/{said['id']}")
    for post in posts:
        for _ in range(2):
            await put(patient, f"/likes/article/{post}")
    await delete(patient, f"/likes/article/{posts[1]}")
    for path, count in (("/me/likes", 3), ("/me/comments", 1)):
        assert (await patient.get(path))["count"] == count
    likes = await whole_list(patient, "/me/likes?", 2)
    assert [(one["kind"], one["title"], one["text"]) for one in likes] == [
        ("article", "文2", None), ("article", "文0", None), ("comment", "文0", "说一句"),
    ]  # fmt: skip
    assert [(await patient.get(f"/articles/{post}"))["liked"] for post in posts] == [
        True, False, True,
    ]  # fmt: skip


@pytest.mark.rule("H3")
async def test_shares_are_counted(enter_as: Enter, new_patient: NewPatient) -> None:
    staff, patient = await enter_as(OPERATOR), await new_patient()
    post = (await publish(staff))["id"]
    for _ in range(3):
        await patient.post(f"/articles/{post}/share")
    assert (await counts(patient, post))[2] == 3


@pytest.mark.rule("H3")
async def test_a_thousand_likes_unlikes_and_comments_at_once_are_counted_exactly(
    clocked: ServerProcess, http: aiohttp.ClientSession, enter_as: Enter, new_patient: NewPatient
) -> None:
    staff, reader = await enter_as(OPERATOR), await new_patient()
    post = (await publish(staff))["id"]
    rooms = await load_rooms(http, clocked.url, 20)
    tokens = [room[f"{role}_token"] for room in rooms for role in ("patient", "doctor")]

    async def ask(token: str, method: str, path: str, body: Any = None) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        url = f"{clocked.url}/api/v1{path}"
        async with http.request(method, url, json=body, headers=headers) as answer:
            return answer.status

    like, said = f"/likes/article/{post}", {"post": post, "text": "好"}
    wanted: list[tuple[Any, ...]] = []
    for token in tokens:
        wanted += [(token, "PUT", like)] * 10 + [(token, "DELETE", like)] * 10
        wanted += [(token, "POST", "/comments", said)] * 5
    answers = await asyncio.gather(*(ask(*one) for one in wanted))
    assert len(answers) == 1000
    assert set(answers) == {201, 204}
    # who asked last isn't known: what is stored is
    likes = [
        (await get_json(http, clocked.url, token, f"/articles/{post}"))["liked"] for token in tokens
    ]
    assert await counts(reader, post) == (200, sum(likes), 0)
    assert await asyncio.gather(*(ask(token, "PUT", like) for token in tokens)) == [204] * 40
    assert (await counts(reader, post))[1] == 40


async def get_json(http: aiohttp.ClientSession, base: str, token: str, path: str) -> Any:
    headers = {"Authorization": f"Bearer {token}"}
    async with http.get(f"{base}/api/v1{path}", headers=headers) as answer:
        return await answer.json()
