package android.net

import android.os.Parcelable

abstract class Uri : Parcelable {
    companion object {
        @JvmStatic
        fun fromParts(scheme: String, ssp: String, fragment: String?): Uri = TODO()
    }
}
