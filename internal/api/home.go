package api

import "net/http"

// home is where the set-up link leads, as long as there is no page: the token behind the # stays in the browser.
const home = `This is Croft. It works, and has no pages yet.

To make the first admin, take the token at the end of the address of this page, which begins with croft_setup_, and paste
into a terminal:

    curl SERVER/api/v1/setup --json '{"token":"TOKEN","email":"you@example.com","password":"a good one"}'

where SERVER is this page's address up to the last slash. If this server has an authority of its own (https://…/trust), curl needs
--cacert and the certificate that SERVER/trust/root.pem gives, too. On the machine that Croft runs on, croft user add does it too:

    croft user add you@example.com --roles admin
`

func (q *request) home() error {
	q.Header()["Content-Type"] = valueText
	q.send(http.StatusOK, []byte(home))
	return nil
}
