package api

import (
	"net/http"

	"croft/internal/records"
)

// condition returns the headers that a request's effect depends on.
func (q *request) condition() records.Condition {
	return records.Condition{IfMatch: q.header("If-Match"), IfNoneMatch: q.header("If-None-Match")}
}

func (q *request) list() error {
	in, err := q.listQuery()
	if err != nil {
		return err
	}
	return q.answerList(in)
}

func (q *request) query(in queryIn) error {
	query, err := in.query()
	if err != nil {
		return err
	}
	return q.answerList(query)
}

func (q *request) answerList(in records.Query) (err error) {
	q.out, err = q.api.records.List(q.ctx, q.caller, q.param("collection"), in, q.out[:0])
	return q.raw(http.StatusOK, q.out, err)
}

func (q *request) record() error {
	fields, err := q.parameter("fields")
	if err != nil {
		return err
	}
	d, err := q.api.records.Get(q.ctx, q.caller, q.param("collection"), q.param("id"), fields, q.condition(), q.out[:0])
	if err != nil {
		return err
	}
	q.tag(d.Rev)
	if !d.Modified {
		return q.notModified()
	}
	q.out = d.JSON
	return q.raw(http.StatusOK, d.JSON, nil)
}

func (q *request) createRecord() error {
	collection := q.param("collection")
	d, err := q.api.records.Create(q.ctx, q.caller, collection, q.body)
	if err == nil {
		q.set("Location", prefix+"/records/"+collection+"/"+d.ID)
	}
	return q.document(http.StatusCreated, d, err)
}

func (q *request) putRecord() error {
	d, created, err := q.api.records.Put(q.ctx, q.caller, q.param("collection"), q.param("id"), q.body, q.condition())
	if created {
		q.set("Location", q.r.URL.Path)
		return q.document(http.StatusCreated, d, err)
	}
	return q.document(http.StatusOK, d, err)
}

func (q *request) patchRecord() error {
	d, err := q.api.records.Patch(q.ctx, q.caller, q.param("collection"), q.param("id"), q.body, q.condition())
	return q.document(http.StatusOK, d, err)
}

func (q *request) deleteRecord() error {
	return q.nothing(q.api.records.Delete(q.ctx, q.caller, q.param("collection"), q.param("id"), q.condition()))
}
