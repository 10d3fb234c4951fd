from storage.database import Database


async def test_a_fresh_folder_takes_transactions(database: Database) -> None:
    async with database.transaction() as session:
        await database["letters"].insert_one({"_id": "a"}, session=session)

    assert await database["letters"].count_documents({}) == 1
