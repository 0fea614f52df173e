-- The classes that changed with each revision of a gallery, in rows from `first` to `last`; none for its settings.
-- `mark` is a number that no other state has, of this gallery or of one that was put in its place.
CREATE TABLE changes (
    gallery TEXT NOT NULL REFERENCES galleries (id) ON DELETE CASCADE,
    revision INTEGER NOT NULL,
    mark INTEGER NOT NULL,
    first INTEGER,
    last INTEGER
);
CREATE INDEX changes_by_revision ON changes (gallery, revision);
-- A gallery's classes in order of row, which every index is built in.
CREATE INDEX classes_by_gallery ON classes (gallery);
-- Kept responses are dropped by time and found by id.
DROP INDEX requests_by_time;
CREATE INDEX requests_by_time ON requests (time, id);
