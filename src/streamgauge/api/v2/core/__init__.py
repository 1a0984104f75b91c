"""Operations under /v2/core."""
