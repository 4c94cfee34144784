"""The names of the layouts of migrations, apart from what reads them: the command line starts without it."""

LAYOUTS = ("flyway", "golang-migrate", "dbmate", "goose", "sqitch", "diesel", "prisma", "plain")
