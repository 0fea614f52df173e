-- The format's version; one row.
CREATE TABLE schema_version (version BIGINT NOT NULL);
INSERT INTO schema_version (version) VALUES (0);
-- Text orders by code point: that is what COLLATE "C" does with UTF-8.
CREATE TABLE galleries (
    id TEXT COLLATE "C" PRIMARY KEY,
    display_name TEXT COLLATE "C" NOT NULL,
    model TEXT COLLATE "C" NOT NULL,
    dimension BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    class_count BIGINT NOT NULL,
    false_accept_rate DOUBLE PRECISION,
    max_exemplars_per_class BIGINT,
    created BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    calibration TEXT COLLATE "C",
    checksum BYTEA NOT NULL
);
-- A sequence never gives a number twice, not even one whose transaction came to nothing.
CREATE SEQUENCE class_rows AS BIGINT;
CREATE TABLE classes (
    row BIGINT PRIMARY KEY,
    gallery TEXT COLLATE "C" NOT NULL REFERENCES galleries (id) ON DELETE CASCADE,
    id TEXT COLLATE "C" NOT NULL,
    display_name TEXT COLLATE "C" NOT NULL,
    attributes TEXT COLLATE "C" NOT NULL,
    embedding BYTEA NOT NULL,
    created BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    checksum BYTEA NOT NULL,
    UNIQUE (gallery, id)
);
-- A gallery's classes in order of row, which every index is built in.
CREATE INDEX classes_by_gallery ON classes (gallery, row);
CREATE TABLE exemplars (
    class BIGINT NOT NULL REFERENCES classes (row) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    sha256 TEXT COLLATE "C" NOT NULL,
    width BIGINT NOT NULL,
    height BIGINT NOT NULL,
    format TEXT COLLATE "C" NOT NULL,
    size_bytes BIGINT NOT NULL,
    region TEXT COLLATE "C",
    embedding BYTEA NOT NULL,
    checksum BYTEA NOT NULL,
    image BYTEA NOT NULL,
    PRIMARY KEY (class, position),
    UNIQUE (sha256, class)
);
-- Images and embeddings do not compress; trying would only cost time.
ALTER TABLE classes ALTER COLUMN embedding SET STORAGE EXTERNAL;
ALTER TABLE exemplars ALTER COLUMN embedding SET STORAGE EXTERNAL;
ALTER TABLE exemplars ALTER COLUMN image SET STORAGE EXTERNAL;
CREATE TABLE requests (
    id TEXT COLLATE "C" PRIMARY KEY,
    method TEXT COLLATE "C" NOT NULL,
    digest BYTEA NOT NULL,
    response BYTEA NOT NULL,
    time BIGINT NOT NULL,
    checksum BYTEA NOT NULL
);
CREATE INDEX requests_by_time ON requests (time);
-- What changed with each revision of a gallery: the classes in rows from `first` to `last`; none for its settings.
CREATE TABLE changes (
    gallery TEXT COLLATE "C" NOT NULL REFERENCES galleries (id) ON DELETE CASCADE,
    revision BIGINT NOT NULL,
    mark BIGINT NOT NULL,
    first BIGINT,
    last BIGINT
);
CREATE INDEX changes_by_revision ON changes (gallery, revision);
