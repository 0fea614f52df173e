-- How many changes each server has committed; it keeps that number in its own data directory, too.
CREATE TABLE servers (
    id TEXT COLLATE "C" PRIMARY KEY,
    changes BIGINT NOT NULL
);
