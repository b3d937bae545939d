package api

import (
	"net/http"

	"croft/internal/auth"
)

// setupToken tells the local operator the token that makes the first admin: null when there is one.
func (q *request) setupToken() error {
	var answer struct {
		Token *string `json:"setup_token"`
	}
	if token := q.api.auth.SetupToken(); token != "" {
		answer.Token = &token
	}
	return q.json(http.StatusOK, answer, nil)
}

func (q *request) setup(in auth.SetupIn) error {
	s, err := q.api.auth.Setup(q.ctx, in, clientOf(q))
	return q.json(http.StatusOK, s, err)
}

func (q *request) signup(in auth.SignupIn) error {
	s, err := q.api.auth.Signup(q.ctx, in, clientOf(q))
	return q.json(http.StatusOK, s, err)
}

func (q *request) login(in auth.LoginIn) error {
	if in.Cookie {
		if err := q.mayHaveCookie(); err != nil {
			return err
		}
	}
	s, err := q.api.auth.Login(q.ctx, in, clientOf(q))
	if err == nil && in.Cookie {
		q.setCookie(s.Token, s.Expires.Time)
		s.Token = ""
	}
	return q.json(http.StatusOK, s, err)
}

func (q *request) logout() error {
	err := q.api.auth.Logout(q.ctx, q.caller)
	if err == nil && q.cookie {
		q.clearCookie()
	}
	return q.nothing(err)
}

func (q *request) me() error {
	u, err := q.api.auth.Me(q.ctx, q.caller)
	return q.json(http.StatusOK, u, err)
}

func (q *request) patchMe(in auth.MePatch) error {
	u, err := q.api.auth.PatchMe(q.ctx, q.caller, in)
	return q.json(http.StatusOK, u, err)
}

func (q *request) changePassword(in auth.PasswordIn) error {
	return q.nothing(q.api.auth.ChangePassword(q.ctx, q.caller, in, clientOf(q)))
}

func (q *request) sessions() error {
	l, err := q.api.auth.Sessions(q.ctx, q.caller)
	return q.json(http.StatusOK, l, err)
}

func (q *request) endSession() error {
	return q.nothing(q.api.auth.EndSession(q.ctx, q.caller, q.param("id")))
}

func (q *request) tokens() error {
	l, err := q.api.auth.Tokens(q.ctx, q.caller)
	return q.json(http.StatusOK, l, err)
}

func (q *request) createToken(in auth.TokenIn) error {
	t, err := q.api.auth.CreateToken(q.ctx, q.caller, in)
	return q.json(http.StatusCreated, t, err)
}

func (q *request) revokeToken() error {
	return q.nothing(q.api.auth.RevokeToken(q.ctx, q.caller, q.param("id")))
}

func (q *request) users() error {
	page, err := q.userPage()
	if err != nil {
		return err
	}
	l, err := q.api.auth.Users(q.ctx, q.caller, page)
	return q.json(http.StatusOK, l, err)
}

func (q *request) userPage() (p auth.Page, err error) {
	err = q.eachParameter(func(name, value string) error {
		switch name {
		case "limit":
			p.Limit, err = parseLimit(value)
		case "cursor":
			p.Cursor = value
		}
		return err
	})
	return p, err
}

func (q *request) createUser(in auth.UserIn) error {
	u, err := q.api.auth.CreateUser(q.ctx, q.caller, in)
	if err == nil {
		q.set("Location", prefix+"/users/"+u.ID)
	}
	return q.json(http.StatusCreated, u, err)
}

func (q *request) user() error {
	u, err := q.api.auth.User(q.ctx, q.caller, q.param("id"))
	return q.json(http.StatusOK, u, err)
}

func (q *request) patchUser(in auth.UserPatch) error {
	u, err := q.api.auth.PatchUser(q.ctx, q.caller, q.param("id"), in)
	return q.json(http.StatusOK, u, err)
}

func (q *request) deleteUser() error {
	return q.nothing(q.api.auth.DeleteUser(q.ctx, q.caller, q.param("id")))
}

func (q *request) invites() error {
	l, err := q.api.auth.Invites(q.ctx, q.caller)
	return q.json(http.StatusOK, l, err)
}

func (q *request) createInvite(in auth.InviteIn) error {
	i, err := q.api.auth.CreateInvite(q.ctx, q.caller, in)
	return q.json(http.StatusCreated, i, err)
}

func (q *request) revokeInvite() error {
	return q.nothing(q.api.auth.RevokeInvite(q.ctx, q.caller, q.param("id")))
}

func (q *request) readSettings() error {
	v, err := q.api.settings.Read(q.ctx, q.caller)
	return q.json(http.StatusOK, v, err)
}

func (q *request) patchSettings() error {
	v, err := q.api.settings.Patch(q.ctx, q.caller, q.body)
	return q.json(http.StatusOK, v, err)
}
